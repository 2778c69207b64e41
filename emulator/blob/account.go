package blob

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"lazulite.dev/emulator/store"
)

var accountName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]{3,24}$`) })

// ErrOwned says that an account belongs to another owner.
var ErrOwned = errors.New("blob: the account belongs to another")

// EnsureAccount makes the account with two random keys if it is not there.
// A name that Azure would refuse is an *Error of code AccountNameInvalid.
func (s *Service) EnsureAccount(ctx context.Context, name string) error {
	err := s.ClaimAccount(ctx, name, "")
	if errors.Is(err, ErrOwned) {
		return nil
	}
	return err
}

// ClaimAccount is EnsureAccount for an owner: of many that claim a name at the
// same time one gets it, and the others ErrOwned.
func (s *Service) ClaimAccount(ctx context.Context, name, owner string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if !accountName().MatchString(name) {
		return fail("AccountNameInvalid").with("AccountName", name)
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	old, err := s.readAccount(ctx, name)
	switch {
	case err == nil && old.Owner == "" && owner != "":
		// Ensured before its owner came: it is his.
		a := *old
		a.Owner = owner
		return s.writeAccount(ctx, &a, store.Any)
	case err == nil && old.Owner != owner:
		return fmt.Errorf("%w: %s", ErrOwned, name)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	a := &account{Name: name, ID: s.files.newID(), Created: s.cfg.Clock.Now(), Owner: owner}
	for i := range a.Keys {
		if a.Keys[i], err = newKey(); err != nil {
			return err
		}
	}
	return s.writeAccount(ctx, a, store.Absent)
}

// writeAccount wants dirMu.
func (s *Service) writeAccount(ctx context.Context, a *account, rev int64) error {
	if _, err := s.cfg.Store.Put(ctx, accountKey(a.Name), encode(a), rev); err != nil {
		return fmt.Errorf("blob: account %s: %w", a.Name, err)
	}
	s.accounts[a.Name] = a
	return nil
}

// AccountOwner is the owner that an account was made for; store.ErrNotFound if it is not there.
func (s *Service) AccountOwner(ctx context.Context, name string) (string, error) {
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	a, err := s.account(ctx, name)
	if err != nil {
		return "", err
	}
	return a.Owner, nil
}

func newKey() (string, error) {
	var b [64]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("blob: account key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

// account finds an account; the one that it returns is not to be changed.
func (s *Service) account(ctx context.Context, name string) (*account, error) {
	s.dirMu.RLock()
	a := s.accounts[name]
	s.dirMu.RUnlock()
	if a != nil {
		return a, nil
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	return s.readAccount(ctx, name)
}

func noAccount() *Error {
	e := fail("ResourceNotFound")
	e.Message = "The specified account does not exist."
	return e
}

// readAccount wants dirMu.
func (s *Service) readAccount(ctx context.Context, name string) (*account, error) {
	if a := s.accounts[name]; a != nil {
		return a, nil
	}
	if !accountName().MatchString(name) {
		return nil, noAccount()
	}
	d, err := s.cfg.Store.Get(ctx, accountKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, noAccount()
	}
	if err != nil {
		return nil, err
	}
	a := &account{}
	if err := decode(d.Key, d.Value, a); err != nil {
		return nil, err
	}
	s.accounts[name] = a
	return a, nil
}

// changeAccount writes a changed copy of the account's document.
func (s *Service) changeAccount(ctx context.Context, name string, change func(*account)) error {
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	old, err := s.readAccount(ctx, name)
	if err != nil {
		return err
	}
	a := *old
	change(&a)
	return s.writeAccount(ctx, &a, store.Any)
}

// Keys returns the account's two keys, base64 as Azure shows them; store.ErrNotFound if there is no such account.
func (s *Service) Keys(ctx context.Context, account string) ([2]string, error) {
	if err := s.enter(); err != nil {
		return [2]string{}, err
	}
	defer s.leave()
	a, err := s.account(ctx, account)
	if err != nil {
		return [2]string{}, err
	}
	return a.Keys, nil
}

// RegenerateKey replaces key 0 or 1; signatures by the old one are refused from then on.
func (s *Service) RegenerateKey(ctx context.Context, account string, n int) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if n != 0 && n != 1 {
		return fmt.Errorf("blob: key %d: an account has keys 0 and 1", n)
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	return s.changeAccount(ctx, account, replaceKey(n, key))
}

func replaceKey(n int, key string) func(*account) {
	return func(a *account) { a.Keys[n] = key }
}

// DeleteAccount removes the account and all its contents; store.ErrNotFound if it is not there.
func (s *Service) DeleteAccount(ctx context.Context, name string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	a, err := s.readAccount(ctx, name)
	if err != nil {
		return err
	}
	ops := []store.Op{{Key: accountKey(name), If: store.Any}}
	var homes []string
	for _, kind := range []string{containerKeys, shareKeys} {
		docs, err := s.cfg.Store.List(ctx, kind+a.ID+"/", "", 0)
		if err != nil {
			return err
		}
		for _, d := range docs {
			var c container
			if err := decode(d.Key, d.Value, &c); err != nil {
				return err
			}
			ops = append(ops, store.Op{Key: d.Key, If: store.Any})
			homes = append(homes, c.ID)
			delete(s.containers, d.Key)
		}
	}
	if _, err := s.cfg.Store.Batch(ctx, ops); err != nil {
		return fmt.Errorf("blob: delete account %s: %w", name, err)
	}
	delete(s.accounts, name)
	s.bury(homes...)
	return nil
}
