package aad

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// kind of a sealed value; it is authenticated with it, so that one can't pass for another.
type kind string

const (
	refreshToken kind = "refresh"
	authCode     kind = "code"
	deviceCode   kind = "device"
)

// How long the sealed kinds live, as Azure's do.
const (
	refreshIdle   = 90 * 24 * time.Hour
	authCodeLife  = 10 * time.Minute
	deviceLife    = 15 * time.Minute
	devicePollGap = time.Second
)

var errUnsealed = errors.New("aad: not sealed by this authority")

// sealed is what a refresh token, an authorization code or a device code says to the authority alone.
type sealed struct {
	Client   string `json:"c"`
	User     string `json:"u,omitempty"`
	Resource string `json:"r,omitempty"`
	Scope    string `json:"s,omitempty"`
	Issued   int64  `json:"i"`

	Redirect  string `json:"d,omitempty"`
	Challenge string `json:"h,omitempty"`
	Method    string `json:"m,omitempty"`
	Nonce     string `json:"n,omitempty"`
	UserCode  string `json:"o,omitempty"`
}

func (s sealed) expired(now time.Time, life time.Duration) bool {
	return now.After(time.Unix(s.Issued, 0).Add(life))
}

func (a *Authority) seal(ctx context.Context, k kind, s sealed) (string, error) {
	key, err := a.keys(ctx)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, key.seal.NonceSize(), key.seal.NonceSize()+len(plain)+key.seal.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(key.seal.Seal(nonce, nonce, plain, []byte(k))), nil
}

func (a *Authority) unseal(ctx context.Context, k kind, text string) (sealed, error) {
	key, err := a.keys(ctx)
	if err != nil {
		return sealed{}, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < key.seal.NonceSize() {
		return sealed{}, errUnsealed
	}
	n := key.seal.NonceSize()
	plain, err := key.seal.Open(nil, raw[:n], raw[n:], []byte(k))
	if err != nil {
		return sealed{}, errUnsealed
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil {
		return sealed{}, errUnsealed
	}
	return s, nil
}
