package emulator

import (
	"errors"
	"os"
	"path/filepath"
)

// stateFolders of a data folder are what Reset removes; identity.json and tls stay.
var stateFolders = []string{"state", "blobs", "process", "docker", "machines", "runs"}

// Reset removes all state from a data folder. It is refused with ErrLocked
// while an emulator has the folder open.
func Reset(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range stateFolders {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, f)))
	}
	return errors.Join(append(errs, lock.Close())...)
}

// ReadIdentity returns the credentials that a data folder holds.
func ReadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, "identity.json")
	if _, err := os.Stat(path); err != nil {
		return Identity{}, err
	}
	return loadIdentity(path)
}
