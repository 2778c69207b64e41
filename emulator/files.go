package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/fakes/aci"
)

// share is the folder of a file share, for a fake to mount in a container: see
// blob.Service.Share. What it refuses is a *blob.Error, whose text is "blob: CODE: message".
func (e *Emulator) share(ctx context.Context, account, key, share string) (dir string, err error) {
	return e.blob.Share(ctx, account, key, share)
}

// mount is a blob container as a folder: see blob.Service.Mount. A fake has an
// interface of its own for the *blob.Mount, so its Config gets this in a function literal.
// One that adopts containers mounts again, in its Open, what they have mounted.
func (e *Emulator) mount(ctx context.Context, account, key, container string) (*blob.Mount, error) {
	return e.blob.Mount(ctx, account, key, container)
}

// signFile and signBlob are URLs at which a file of a share, or a blob, is
// downloaded without more, signed with the account's key that a fake was given.
func (e *Emulator) signFile(account, key, share, path, permissions string, expiry time.Time) (string, error) {
	return e.blob.SignFile(account, key, share, path, permissions, expiry)
}

func (e *Emulator) signBlob(account, key, container, name, permissions string, expiry time.Time) (string, error) {
	return e.blob.SignBlob(account, key, container, name, permissions, expiry)
}

// groupShare is share in a container group's words.
func (e *Emulator) groupShare(ctx context.Context, account, key, share string) (string, error) {
	dir, err := e.share(ctx, account, key, share)
	var refused *blob.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		return "", fmt.Errorf("%w: %w", aci.ErrShareKey, err)
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		return "", fmt.Errorf("%w: %w", aci.ErrShareAbsent, err)
	}
	return dir, err
}
