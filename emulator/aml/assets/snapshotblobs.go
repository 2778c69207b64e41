package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// registerSnapshotBlobs adds the routes of content/v2.0, as SDK 1.x takes a
// snapshot: the client asks for a blob for each file, fills them by SAS, and
// posts the tree with the blobs' URLs. What is kept is the same as of v1.0.
func (s *Service) registerSnapshotBlobs(m *plane.Mux) {
	const base = "content/v2.0/{WS}/snapshots"
	m.Handle(http.MethodPost, base+"/getblob", s.getBlobs)
	m.Handle(http.MethodGet, base+"/{id}/metadata", s.snapshotMetadata)
	m.Handle(http.MethodPost, base+"/{id}", s.postSnapshotBlobs)
	m.Handle(http.MethodPost, base+"/{id}/zip", s.postZip)
	m.Handle(http.MethodGet, base+"/{id}/zip", s.postZip)
}

// incoming is where blobs of a snapshot wait for its tree.
func incoming(ws plane.Workspace) string { return "incoming/" + strings.ToLower(ws.GUID) + "/" }

// fileNode is a file and its blob. The size that SDK 1.x sends with it is not
// looked at: the file may have grown since it was uploaded.
type fileNode struct {
	FullName string `json:"fullName"`
	BlobURI  string `json:"blobUri"`
}

func (s *Service) getBlobs(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct{ FileNames []string }
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	if len(in.FileNames) > maxSnapshotFiles {
		return plane.TooLarge("The snapshot exceeds the file limit of %d.", maxSnapshotFiles)
	}
	if err := s.sweepIncoming(r.Context(), c.Workspace); err != nil {
		return err
	}
	nodes := make([]fileNode, len(in.FileNames))
	for i, name := range in.FileNames {
		if why := badRelPath(strings.ReplaceAll(name, "\\", "/")); why != "" {
			return plane.BadRequest(fmt.Sprintf("FileNames[%d]", i), "The file name '%s' is not valid: %s.", name, why)
		}
		u, err := s.sas(r.Context(), c.Workspace, snapshotContainer, incoming(c.Workspace)+uuid.NewString(), "rcw")
		if err != nil {
			return err
		}
		nodes[i] = fileNode{FullName: name, BlobURI: u}
	}
	plane.WriteJSON(w, http.StatusOK, map[string][]fileNode{"fileNodes": nodes})
	return nil
}

// sweepIncoming drops what waited longer than its URL was good.
func (s *Service) sweepIncoming(ctx context.Context, ws plane.Workspace) error {
	props, _, err := s.blobs.List(ctx, ws.StorageAccount, snapshotContainer, incoming(ws), "", 0)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range props {
		if s.cfg.Clock.Now().Sub(p.LastModified) > sasLife {
			if err := s.dropIncoming(ctx, ws, p.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) dropIncoming(ctx context.Context, ws plane.Workspace, name string) error {
	if err := s.blobs.Delete(ctx, ws.StorageAccount, snapshotContainer, name); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

func (s *Service) postSnapshotBlobs(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		ParentSnapshotID string `json:"ParentSnapshotId"`
		DirTreeNode      json.RawMessage
		FileRevisionList struct{ FileNodes []fileNode }
	}
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	sn, inherited, err := s.newSnapshot(r.Context(), c.Workspace, c.Vars["id"], in.ParentSnapshotID)
	if err != nil {
		return err
	}
	if len(in.DirTreeNode) > maxTree {
		return plane.TooLarge("The directory tree is larger than %d bytes.", maxTree)
	}
	dir, err := os.MkdirTemp(s.cfg.TempDir, tempPattern)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	up := &upload{dir: dir, parts: map[string]part{}}
	if up.tree, err = parseTree(in.DirTreeNode); err != nil {
		return err
	}
	var taken []string
	for i, n := range in.FileRevisionList.FileNodes {
		name, err := s.takeBlob(r.Context(), c.Workspace, up, fmt.Sprintf("FileRevisionList.FileNodes[%d]", i), n)
		if err != nil {
			return err
		}
		taken = append(taken, name)
	}
	if err := sn.fill(up, inherited); err != nil {
		return err
	}
	if err := s.storeSnapshot(r.Context(), c.Workspace, sn, up); err != nil {
		return err
	}
	for _, name := range taken {
		if err := s.dropIncoming(r.Context(), c.Workspace, name); err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, snapshotDto{sn.ID, sn.Root.wire()})
	return nil
}

// takeBlob copies a file that the client uploaded to where uploads are checked, and returns its blob's name.
func (s *Service) takeBlob(ctx context.Context, ws plane.Workspace, up *upload, target string, n fileNode) (string, error) {
	path := strings.ReplaceAll(n.FullName, "\\", "/")
	if why := badRelPath(path); why != "" {
		return "", plane.BadRequest(target+".FullName", "The file name '%s' is not valid: %s.", n.FullName, why)
	}
	if _, ok := up.parts[path]; ok {
		return "", plane.BadRequest(target+".FullName", "The file '%s' comes twice.", n.FullName)
	}
	u, err := url.Parse(n.BlobURI)
	if err != nil {
		return "", plane.BadRequest(target+".BlobUri", "The blob's URL of file '%s' is not valid.", n.FullName)
	}
	account, _, _ := strings.Cut(u.Host, ".")
	name, ok := strings.CutPrefix(strings.TrimPrefix(u.Path, "/"), snapshotContainer+"/")
	if !ok || !strings.EqualFold(account, ws.StorageAccount) || !strings.HasPrefix(name, incoming(ws)) {
		return "", plane.BadRequest(target+".BlobUri", "The blob of file '%s' is not one that was handed out for a snapshot of this workspace.", n.FullName)
	}
	from, _, err := s.blobs.Open(ctx, ws.StorageAccount, snapshotContainer, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", plane.BadRequest(target+".BlobUri", "The file '%s' was not uploaded.", n.FullName)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	f, err := os.CreateTemp(up.dir, "part-")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(from, maxSnapshotBytes-up.bytes+1))
	if err != nil {
		return "", err
	}
	if up.bytes += size; up.bytes > maxSnapshotBytes {
		return "", tooManyBytes()
	}
	up.parts[path] = part{file: f.Name(), sum: hex.EncodeToString(sum.Sum(nil)), size: size}
	return name, f.Close()
}

// postZip answers at once: the zip is made while the request waits, as a
// service may (SDK 1.x takes 200 for one that was there already).
func (s *Service) postZip(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name, err := s.buildZip(r.Context(), c.Workspace, c.Vars["id"])
	if err != nil {
		return err
	}
	u, err := s.sas(r.Context(), c.Workspace, zipContainer, name, "r")
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, map[string]string{"zipSasUri": u})
	return nil
}
