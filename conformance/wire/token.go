package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// AudienceManagement is the audience of tokens for ARM and for the data plane, as the clients of 2018 write it.
const AudienceManagement = "https://management.core.windows.net/"

type token struct {
	text    string
	expires time.Time
}

// Token returns a token for audience, kept until five minutes before its end.
func (c *Client) Token(ctx context.Context, audience string) (string, error) {
	if c.cfg.Token != nil {
		return c.cfg.Token(ctx, audience)
	}
	c.mu.Lock()
	t, ok := c.tokens[audience]
	c.mu.Unlock()
	if ok && time.Until(t.expires) > 5*time.Minute {
		return t.text, nil
	}
	resp, err := c.Grant(ctx, c.cfg.Tenant, c.cfg.ClientID, c.cfg.ClientSecret, audience)
	if err != nil {
		return "", err
	}
	text := resp.Text("access_token")
	if resp.Status != http.StatusOK || text == "" {
		return "", fmt.Errorf("the authority gave no token: %s", resp)
	}
	if c.cfg.Advance != nil {
		// By a clock that is moved nobody here can tell when it ends.
		return text, nil
	}
	t = token{text, time.Now().Add(lifetime(resp))}
	c.mu.Lock()
	c.tokens[audience] = t
	c.mu.Unlock()
	return text, nil
}

// Grant sends the client-credentials grant of the v1 endpoint and returns the authority's answer, whatever it is.
func (c *Client) Grant(ctx context.Context, tenant, id, secret, audience string) (*Response, error) {
	if c.cfg.Authority == "" {
		return nil, fmt.Errorf("no authority to get a token from")
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Request)
	defer cancel()
	u := c.cfg.Authority + "/" + url.PathEscape(tenant) + "/oauth2/token"
	if strings.HasSuffix(c.cfg.Authority, "/adfs") {
		u = c.cfg.Authority + "/oauth2/token"
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "resource": {audience}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return c.send(req)
}

// lifetime reads expires_in, which v1 writes as a string and v2 as a number.
func lifetime(r *Response) time.Duration {
	var doc struct {
		ExpiresIn json.RawMessage `json:"expires_in"`
	}
	_ = json.Unmarshal(r.Body, &doc)
	n, err := strconv.Atoi(strings.Trim(string(doc.ExpiresIn), `"`))
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
