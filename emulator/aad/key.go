package aad

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"

	"lazulite.dev/emulator/store"
)

const keyDoc = "aad/key"

// keys sign tokens and seal what is handed out to be brought back.
type keys struct {
	id   string
	rsa  *rsa.PrivateKey
	seal cipher.AEAD
}

// storedKeys is the document at keyDoc.
type storedKeys struct {
	RSA  []byte `json:"rsa"`  // PKCS #8
	Seal []byte `json:"seal"` // AES-256
}

// keys reads the keys from the store, or makes them there.
func (a *Authority) keys(ctx context.Context) (*keys, error) {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	if a.key != nil {
		return a.key, nil
	}
	doc, err := a.cfg.Store.Get(ctx, keyDoc)
	if errors.Is(err, store.ErrNotFound) {
		var value []byte
		if value, err = makeKeys(); err != nil {
			return nil, fmt.Errorf("aad: make the signing key: %w", err)
		}
		doc, err = a.cfg.Store.Put(ctx, keyDoc, value, store.Absent)
		if errors.Is(err, store.ErrConflict) {
			doc, err = a.cfg.Store.Get(ctx, keyDoc)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("aad: signing key: %w", err)
	}
	k, err := readKeys(doc.Value)
	if err != nil {
		return nil, fmt.Errorf("aad: signing key in the store: %w", err)
	}
	a.key = k
	return k, nil
}

func makeKeys() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	seal := make([]byte, 32)
	if _, err := rand.Read(seal); err != nil {
		return nil, err
	}
	return json.Marshal(storedKeys{RSA: der, Seal: seal})
}

func readKeys(value []byte) (*keys, error) {
	var s storedKeys
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(s.RSA)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, not an RSA key", parsed)
	}
	block, err := aes.NewCipher(s.Seal)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return &keys{id: base64.RawURLEncoding.EncodeToString(sum[:]), rsa: key, seal: seal}, nil
}

// jwks answers the public half of the signing key, as RFC 7517 says.
func (a *Authority) jwks(w http.ResponseWriter, q *request) error {
	k, err := a.keys(q.Context())
	if err != nil {
		return err
	}
	e := binary.BigEndian.AppendUint64(nil, uint64(k.rsa.E))
	return writeJSON(w, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id, "x5t": k.id,
		"n": base64.RawURLEncoding.EncodeToString(k.rsa.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(new(big.Int).SetBytes(e).Bytes()),
	}}})
}

// stableGUID derives a version-5 GUID from its parts, the same after every start.
func stableGUID(parts ...string) string {
	h := sha1.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return formatGUID(h.Sum(nil), 5)
}

// randomGUID is a version-4 GUID.
func randomGUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return formatGUID(b, 4)
}

func formatGUID(b []byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
