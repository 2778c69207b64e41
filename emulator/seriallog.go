package emulator

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// keepLog puts a machine's serial log at the URL of a blob, as Microsoft.Compute does with boot diagnostics.
func (e *Emulator) keepLog(ctx context.Context, at string, log io.Reader) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	account, _, ours := strings.Cut(u.Hostname(), ".blob.")
	container, name, found := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ours || !found {
		return fmt.Errorf("emulator: %q is no URL of a blob", at)
	}
	if err := e.blob.EnsureContainer(ctx, account, container); err != nil {
		return err
	}
	_, err = e.blob.Put(ctx, account, container, name, "text/plain", log)
	return err
}
