package emulator

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"lazulite.dev/emulator/durable"
)

// Well-known ids. They are the same for every instance: the SDK caches a
// workspace's addresses in the user's home under its subscription for ever,
// and they hold wherever the emulator listens.
const (
	defaultTenant       = "1a2c1a2c-0018-4018-8018-a2018102018a"
	defaultSubscription = "1a2c1a2c-0018-4018-8018-520181020185"
	defaultClientID     = "1a2c1a2c-0018-4018-8018-c2018102018c"
	// serviceAppID is Azure Machine Learning's own application.
	serviceAppID = "0736f41a-0425-4b46-bdb5-1563eff02385"
)

// Identity is what a client logs in with.
type Identity struct {
	Tenant       string `json:"tenant"`
	Subscription string `json:"subscription"`
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	// AdminToken guards the management interface.
	AdminToken string `json:"adminToken"`
}

// Identity returns the credentials of this instance.
func (e *Emulator) Identity() Identity { return e.identity }

// loadIdentity reads the instance's credentials, or makes them at the first start. The file is its owner's alone.
func loadIdentity(path string) (Identity, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		var id Identity
		if err := json.Unmarshal(b, &id); err != nil {
			return Identity{}, fmt.Errorf("emulator: %s: %w", path, err)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("emulator: %w", err)
	}
	id := Identity{Tenant: defaultTenant, Subscription: defaultSubscription, ClientID: defaultClientID,
		ClientSecret: secret(), AdminToken: secret()}
	if b, err = json.MarshalIndent(id, "", "  "); err != nil {
		return Identity{}, err
	}
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		return Identity{}, fmt.Errorf("emulator: %w", err)
	}
	return id, nil
}

// secret is letters and digits alone: az takes a value that starts with a hyphen for an option.
func secret() string { return rand.Text() + rand.Text() }
