package emulator

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"lazulite.dev/fakes/dsvm"
)

// logBlob finds the blob of a URL.
func logBlob(at string) (account, container, name string, err error) {
	u, err := url.Parse(at)
	if err != nil {
		return "", "", "", err
	}
	account, _, ours := strings.Cut(u.Hostname(), ".blob.")
	container, name, found := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ours || !found {
		return "", "", "", fmt.Errorf("emulator: %q is no URL of a blob", at)
	}
	return account, container, name, nil
}

// keepLog puts a machine's serial log at the URL of a blob, as Microsoft.Compute
// does with boot diagnostics. The account of logs that no account of the user's was named for is made here.
func (e *Emulator) keepLog(ctx context.Context, at string, log io.Reader) error {
	account, container, name, err := logBlob(at)
	if err != nil {
		return err
	}
	if strings.HasPrefix(at, dsvm.ManagedStorage) {
		if err := e.blob.EnsureAccount(ctx, account); err != nil {
			return err
		}
	}
	if err := e.blob.EnsureContainer(ctx, account, container); err != nil {
		return err
	}
	_, err = e.blob.Put(ctx, account, container, name, "text/plain", log)
	return err
}

// signLog is the URL of such a blob, good for reading until then.
func (e *Emulator) signLog(ctx context.Context, at string, until time.Time) (string, error) {
	account, container, name, err := logBlob(at)
	if err != nil {
		return "", err
	}
	return e.blob.SAS(ctx, account, container, name, "r", until)
}
