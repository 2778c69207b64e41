package aml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/arm"
)

// managementHost is where computes' machines are asked for.
const managementHost = "https://management.azure.com"

// armCall sends one request to the resource manager and decodes the answer
// into out (nil: dropped); path may have a query. An ARM error comes back as the *arm.Error that it was.
func (s *Service) armCall(ctx context.Context, method, path, version string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("aml: %s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(b)
	}
	separator := "?"
	if strings.Contains(path, separator) {
		separator = "&"
	}
	req, err := http.NewRequestWithContext(ctx, method, managementHost+path+separator+"api-version="+version, payload)
	if err != nil {
		return fmt.Errorf("aml: %s %s: %w", method, path, err)
	}
	token, err := s.cfg.ARMToken(ctx)
	if err != nil {
		return fmt.Errorf("aml: token for the resource manager: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.cfg.ARM.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("aml: %s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("aml: %s %s: %w", method, path, err)
	}
	if resp.StatusCode >= 400 {
		return armError(resp.StatusCode, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("aml: %s %s answered %q: %w", method, path, b, err)
	}
	return nil
}

func armError(status int, body []byte) *arm.Error {
	var doc struct {
		Error struct{ Code, Message, Target string } `json:"error"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.Error.Code == "" {
		return &arm.Error{Status: status, Code: http.StatusText(status), Message: string(body)}
	}
	return &arm.Error{Status: status, Code: doc.Error.Code, Message: doc.Error.Message, Target: doc.Error.Target}
}

// armCaller is the resource manager as package execution wants it.
type armCaller struct{ s *Service }

// Do implements execution.ARM.
func (c armCaller) Do(ctx context.Context, method, path, apiVersion string, body, out any) error {
	err := c.s.armCall(ctx, method, path, apiVersion, body, out)
	var refused *arm.Error
	if errors.As(err, &refused) {
		return &execution.ARMError{Status: refused.Status, Code: refused.Code, Message: refused.Message}
	}
	return err
}
