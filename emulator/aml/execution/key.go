package execution

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

const workspaceKeyPrefix = "execution/key/"

// keyPair is a workspace's own SSH key, as getorcreateworkspacesshkey answers.
type keyPair struct {
	PublicKey  string `json:"publicKey"`  // an authorized_keys line
	PrivateKey string `json:"privateKey"` // PEM, PKCS #1
}

func (s *Service) workspaceKey(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	if c.Caller.RunID != "" {
		return &plane.Error{Status: http.StatusForbidden, Code: "UserError", Inner: "AuthorizationFailed",
			Message: "The token of a run does not give access to the workspace's SSH key."}
	}
	key, err := s.keyPair(r.Context(), c.Workspace)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, key)
	return nil
}

// keyPair returns the workspace's key, made at the first call.
func (s *Service) keyPair(ctx context.Context, ws plane.Workspace) (keyPair, error) {
	var key keyPair
	doc, err := s.cfg.Store.Get(ctx, workspaceKeyPrefix+ws.GUID)
	if errors.Is(err, store.ErrNotFound) {
		if key, err = newKeyPair(); err != nil {
			return key, err
		}
		b, err := json.Marshal(key)
		if err != nil {
			return key, fmt.Errorf("execution: %w", err)
		}
		if _, err = s.cfg.Store.Put(ctx, workspaceKeyPrefix+ws.GUID, b, store.Absent); err == nil {
			return key, nil
		} else if !errors.Is(err, store.ErrConflict) {
			return key, err
		}
		doc, err = s.cfg.Store.Get(ctx, workspaceKeyPrefix+ws.GUID)
		if err != nil {
			return key, err
		}
	} else if err != nil {
		return key, err
	}
	return key, json.Unmarshal(doc.Value, &key)
}

func newKeyPair() (keyPair, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return keyPair{}, fmt.Errorf("execution: %w", err)
	}
	public, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		return keyPair{}, fmt.Errorf("execution: %w", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	return keyPair{
		PublicKey:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))),
		PrivateKey: string(pem.EncodeToMemory(block)),
	}, nil
}

// NewKeyPair makes an RSA key for SSH: an authorized_keys line and a PKCS #1 PEM.
func NewKeyPair() (public, private string, err error) {
	key, err := newKeyPair()
	return key.PublicKey, key.PrivateKey, err
}
