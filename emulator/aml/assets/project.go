package assets

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// Limits of a project.zip. The SDK sends no zip of 25 MB or more; what it
// unpacks to has a snapshot's limit.
const (
	maxProjectZip     = maxSnapshotBytes
	maxProjectBytes   = maxSnapshotBytes
	maxProjectEntries = 10000
	// An entry above bombSize that is packed better than bombRatio to 1 is no project's file.
	bombSize  = 16 << 20
	bombRatio = 250
)

// StoreProject keeps a project.zip that came with a run; RunID names it. A
// *plane.Error tells why the archive is refused; nothing is stored then.
func (s *Service) StoreProject(ctx context.Context, ws plane.Workspace, runID string, r io.Reader) error {
	name, err := projectBlob(ws, runID)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.cfg.TempDir, tempPattern)
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	read := &sourceError{r: r}
	n, err := io.Copy(f, io.LimitReader(read, maxProjectZip+1))
	if read.err != nil {
		return plane.BadRequest("project.zip", "The project archive could not be read: it is cut off.")
	}
	if err != nil {
		return err
	}
	if n > maxProjectZip {
		return plane.TooLarge("The project archive exceeds the size limit of %d MB.", maxProjectZip>>20)
	}
	if err := checkZip(ctx, f, n); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = s.blobs.Put(ctx, ws.StorageAccount, zipContainer, name, "application/zip", f)
	return storageGone(ws, zipContainer, err)
}

func projectBlob(ws plane.Workspace, runID string) (string, error) {
	if why := badName(runID); why != "" {
		return "", plane.BadRequest("runId", "The run id '%s' is not valid: %s.", runID, why)
	}
	return strings.ToLower(ws.GUID) + "/projects/" + runID + ".zip", nil
}

// ProjectZip writes the archive that StoreProject kept; a *plane.Error 404 if there is none.
func (s *Service) ProjectZip(ctx context.Context, ws plane.Workspace, runID string, w io.Writer) error {
	name, err := projectBlob(ws, runID)
	if err != nil {
		return err
	}
	err = s.copyZip(ctx, ws, name, w)
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The run '%s' has no project archive.", runID)
	}
	return err
}

// ProjectURL is a URL to read the archive that StoreProject kept, good until expiry; a *plane.Error 404 if there is none.
func (s *Service) ProjectURL(ctx context.Context, ws plane.Workspace, runID string, expiry time.Time) (string, error) {
	name, err := projectBlob(ws, runID)
	if err != nil {
		return "", err
	}
	f, _, err := s.blobs.Open(ctx, ws.StorageAccount, zipContainer, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", plane.NotFound("The run '%s' has no project archive.", runID)
	}
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return s.blobs.SAS(ctx, ws.StorageAccount, zipContainer, name, "r", expiry)
}

// checkZip reads the archive through: names, kinds, sizes and checksums. It
// unpacks everything, because a directory of lies costs a liar nothing.
func checkZip(ctx context.Context, r io.ReaderAt, size int64) error {
	bad := func(format string, args ...any) error {
		return plane.BadRequest("project.zip", "The project archive is not valid: "+format, args...)
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return bad("it is not a zip.")
	}
	if len(z.File) > maxProjectEntries {
		return plane.TooLarge("The project archive has %d entries; the limit is %d.", len(z.File), maxProjectEntries)
	}
	files, folders := map[string]bool{}, map[string]bool{}
	var declared uint64
	for _, f := range z.File {
		folder := strings.HasSuffix(f.Name, "/")
		path := strings.TrimSuffix(strings.TrimPrefix(f.Name, "./"), "/")
		if folder && (path == "" || path == ".") {
			continue // the project's own folder
		}
		if why := badRelPath(path); why != "" {
			return bad("the entry '%s' cannot be unpacked: %s.", f.Name, why)
		}
		if kind := f.Mode() & fs.ModeType; kind != 0 && kind != fs.ModeDir || kind == fs.ModeDir && !folder {
			return bad("the entry '%s' is a link, a device or another special file.", f.Name)
		}
		if f.Flags&1 != 0 {
			return bad("the entry '%s' is encrypted.", f.Name)
		}
		if files[path] || folders[path] && !folder {
			return bad("the entry '%s' comes twice.", f.Name)
		}
		for p := path; ; {
			i := strings.LastIndexByte(p, '/')
			if i < 0 {
				break
			}
			p = p[:i]
			if files[p] {
				return bad("the entry '%s' lies below a file.", f.Name)
			}
			folders[p] = true
		}
		if folder {
			folders[path] = true
		} else {
			files[path] = true
		}
		if f.UncompressedSize64 > bombSize && f.UncompressedSize64/max(f.CompressedSize64, 1) > bombRatio {
			return bad("the entry '%s' unpacks to more than %d times its size.", f.Name, bombRatio)
		}
		// Compared one by one, so that no sum can wrap.
		if f.UncompressedSize64 > maxProjectBytes || declared+f.UncompressedSize64 > maxProjectBytes {
			return plane.TooLarge("The project archive unpacks to more than %d MB.", maxProjectBytes>>20)
		}
		declared += f.UncompressedSize64
	}
	left := int64(maxProjectBytes)
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unpack(f, left)
		if err != nil {
			return bad("the entry '%s' is damaged.", f.Name)
		}
		if left -= n; left < 0 {
			return plane.TooLarge("The project archive unpacks to more than %d MB.", maxProjectBytes>>20)
		}
	}
	return nil
}

// unpack reads an entry to its end, or to limit and a byte more.
func unpack(f *zip.File, limit int64) (int64, error) {
	rc, err := f.Open()
	if err != nil {
		return 0, fmt.Errorf("assets: %w", err)
	}
	defer func() { _ = rc.Close() }()
	return io.Copy(io.Discard, io.LimitReader(rc, limit+1))
}
