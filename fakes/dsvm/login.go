package dsvm

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lazulite.dev/emulator/sshd"
)

// login is a user besides the one that the machine was made with. All run as
// the emulator's own user; each has a home.
type login struct {
	Name         string
	PasswordHash string `json:",omitempty"`
}

// home is a user's folder on the disk.
func (m *machine) home(user string) string { return filepath.Join(m.dir, "home", user) }

// known says whether a user may log in at all.
func (f machineFile) known(user string) bool {
	return user == f.User || slices.ContainsFunc(f.Users, func(l login) bool { return l.Name == user })
}

// homes gives those users their own folders that are not the first one.
func (m *machine) homes(first string) func(user string) (string, []string) {
	return func(user string) (string, []string) {
		if f := m.snapshot(); user == f.User || !f.known(user) {
			return first, nil
		}
		home := m.home(user)
		return home, []string{"HOME=" + home, "USER=" + user, "LOGNAME=" + user}
	}
}

// passwordLogins says whether any user has a password.
func (m *machine) passwordLogins() bool {
	f := m.snapshot()
	return f.PasswordHash != "" || slices.ContainsFunc(f.Users, func(l login) bool { return l.PasswordHash != "" })
}

// password says whether it is the user's, in a time that tells neither of them.
func (m *machine) password(user, password string) bool {
	f := m.snapshot()
	hash, right := f.PasswordHash, subtle.ConstantTimeCompare([]byte(user), []byte(f.User)) == 1
	for _, l := range f.Users {
		if subtle.ConstantTimeCompare([]byte(user), []byte(l.Name)) == 1 {
			hash, right = l.PasswordHash, true
		}
	}
	return sshd.PasswordMatches(hash, password) && right && hash != ""
}

// authorizedKeys reads the user's file at each login: ssh-copy-id writes to it.
func (m *machine) authorizedKeys(user string) []string {
	if !m.snapshot().known(user) {
		return nil
	}
	file, err := os.Open(filepath.Join(m.home(user), ".ssh", "authorized_keys"))
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// setUser makes a user or changes one: a hash and keys that are empty stay as they are.
func (m *machine) setUser(name, hash string, keys []string) error {
	if !linuxUser().MatchString(name) {
		return fmt.Errorf("%q is no name of a user", name)
	}
	home := m.home(name)
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	if err := m.writeProfile(home); err != nil {
		return err
	}
	if err := addKeys(filepath.Join(home, ".ssh", "authorized_keys"), keys); err != nil {
		return err
	}
	return errors.Join(m.save(func(f *machineFile) {
		if name == f.User {
			if hash != "" {
				f.PasswordHash = hash
			}
			return
		}
		users := slices.Clone(f.Users)
		i := slices.IndexFunc(users, func(l login) bool { return l.Name == name })
		if i < 0 {
			i, users = len(users), append(users, login{Name: name})
		}
		if hash != "" {
			users[i].PasswordHash = hash
		}
		f.Users = users
	}), m.refreshAccounts(""))
}

// addKeys appends those that a file does not have.
func addKeys(file string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	had, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lines := strings.Split(string(had), "\n")
	out := string(had)
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	for _, k := range keys {
		if k = strings.TrimSpace(k); k != "" && !slices.Contains(lines, k) {
			out += k + "\n"
		}
	}
	return os.WriteFile(file, []byte(out), 0o600)
}

// removeUser takes a user's login away, and with it the home of one that the machine was not made with.
func (m *machine) removeUser(name string) error {
	f := m.snapshot()
	if !f.known(name) {
		return fmt.Errorf("userdel: user '%s' does not exist", name)
	}
	if err := m.save(func(f *machineFile) {
		if name == f.User {
			f.PasswordHash = ""
		}
		f.Users = slices.DeleteFunc(slices.Clone(f.Users), func(l login) bool { return l.Name == name })
	}); err != nil {
		return err
	}
	if name == f.User {
		return errors.Join(os.RemoveAll(filepath.Join(m.home(name), ".ssh", "authorized_keys")), m.refreshAccounts(""))
	}
	if err := m.refreshAccounts(name); err != nil {
		return err
	}
	return os.RemoveAll(m.home(name))
}
