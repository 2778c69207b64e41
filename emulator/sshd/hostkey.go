package sshd

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/durable"
)

// hostKeys reads the file's keys or makes one of each kind and keeps them there.
func hostKeys(file string) ([]gossh.Signer, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err == nil {
			return parseHostKeys(file, data)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("sshd: host keys: %w", err)
		}
	}
	data, err := makeHostKeys()
	if err != nil {
		return nil, err
	}
	if file != "" {
		if err := durable.WriteFile(file, data, 0o600); err != nil {
			return nil, fmt.Errorf("sshd: host keys: %w", err)
		}
	}
	return parseHostKeys(file, data)
}

// HostKeyFiles gives the keys that a Server with that HostKeyFile has, made if
// they are not there, as OpenSSH's server reads them: one to a file, by its type.
// Lines are the public keys.
func HostKeyFiles(file string) (private map[string][]byte, lines []string, err error) {
	signers, err := hostKeys(file)
	if err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("sshd: host keys: %w", err)
	}
	private = map[string][]byte{}
	for _, signer := range signers {
		var block *pem.Block
		block, data = pem.Decode(data)
		key := signer.PublicKey()
		private[key.Type()] = pem.EncodeToMemory(block)
		lines = append(lines, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))))
	}
	return private, lines, nil
}

func makeHostKeys() ([]byte, error) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, key := range []crypto.PrivateKey{ed, ec} {
		block, err := gossh.MarshalPrivateKey(key, "")
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
	return out, nil
}

func parseHostKeys(file string, data []byte) ([]gossh.Signer, error) {
	var out []gossh.Signer
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		signer, err := gossh.ParsePrivateKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("sshd: host keys of %s: %w", file, err)
		}
		out, data = append(out, signer), rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("sshd: %s holds no host key", file)
	}
	return out, nil
}
