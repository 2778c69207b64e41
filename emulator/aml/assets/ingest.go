package assets

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// blobHost is the suffix of the storage accounts that the emulator answers for.
const blobHost = ".blob.core.windows.net"

// ingest copies the blobs below a prefix of a container into artifacts. The
// SAS that came with the request is what opens the container: it is put to
// storage itself, as any client's would be.
func (s *Service) ingest(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	to, err := parseContainer(c.Vars["origin"], c.Vars["container"])
	if err != nil {
		return err
	}
	var in struct {
		ContainerSas   string `json:"containerSas"`
		ContainerURI   string `json:"containerUri"`
		Prefix         string `json:"prefix"`
		ArtifactPrefix string `json:"artifactPrefix"`
	}
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return err
	}
	account, container, err := s.parseContainerURI(r.Context(), in.ContainerURI)
	if err != nil {
		return err
	}
	sas := strings.TrimPrefix(in.ContainerSas, "?")
	if sas == "" {
		return plane.BadRequest("containerSas", "The 'containerSas' is missing.")
	}
	if err := s.tryContainerSAS(r.Context(), account, container, sas); err != nil {
		return err
	}

	// Everything is looked at before anything is copied.
	type copyOf struct{ from, contentType string }
	var names []artifactName
	var sources []copyOf
	prefix := strings.Trim(in.Prefix, "/")
	for after := ""; ; {
		props, next, err := s.blobs.List(r.Context(), account, container, prefix, after, 5000)
		if err != nil {
			return err
		}
		for _, p := range props {
			rest, ok := below(p.Name, prefix)
			if !ok || strings.HasSuffix(p.Name, "/") {
				continue
			}
			n, err := parseArtifact(to.Origin, to.Container, strings.Trim(in.ArtifactPrefix, "/")+"/"+rest)
			if in.ArtifactPrefix == "" {
				n, err = parseArtifact(to.Origin, to.Container, rest)
			}
			if err != nil {
				return err
			}
			names = append(names, n)
			sources = append(sources, copyOf{p.Name, p.ContentType})
		}
		if next == "" {
			break
		}
		after = next
	}
	out := batchResult{map[string]artifactDto{}, map[string]contentInfoDto{}, map[string]batchError{}}
	for i, n := range names {
		d, err := s.copyBlob(r.Context(), c.Workspace, account, container, sources[i].from, sources[i].contentType, n)
		if err != nil {
			return err
		}
		out.Artifacts[n.Path] = d
		if out.ContentInfo[n.Path], err = s.contentInfo(r.Context(), c.Workspace, n, "r"); err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// below returns what of name comes after the folder prefix, or name's last part where the two are the same.
func below(name, prefix string) (string, bool) {
	if prefix == "" {
		return name, true
	}
	if name == prefix {
		return name[strings.LastIndexByte(name, '/')+1:], true
	}
	return strings.CutPrefix(name, prefix+"/")
}

func (s *Service) copyBlob(ctx context.Context, ws plane.Workspace, account, container, name, contentType string, n artifactName) (artifactDto, error) {
	f, _, err := s.blobs.Open(ctx, account, container, name)
	if err != nil {
		return artifactDto{}, fmt.Errorf("assets: ingest %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	return s.put(ctx, ws, n, contentType, f)
}

// parseContainerURI accepts https://{account}.blob.core.windows.net/{container}
// of an account that is here; the emulator fetches nothing from elsewhere.
func (s *Service) parseContainerURI(ctx context.Context, uri string) (account, container string, err error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return "", "", plane.BadRequest("containerUri", "The 'containerUri' '%s' is not a container's URL.", uri)
	}
	account, ok := strings.CutSuffix(strings.ToLower(u.Hostname()), blobHost)
	container = strings.Trim(u.Path, "/")
	if !ok || account == "" {
		return "", "", plane.BadRequest("containerUri", "The host '%s' of 'containerUri' is not a storage account of this emulator, which copies from its own accounts alone.", u.Host)
	}
	if container == "" || strings.Contains(container, "/") {
		return "", "", plane.BadRequest("containerUri", "The 'containerUri' '%s' must name a container.", uri)
	}
	if _, err := s.blobs.Keys(ctx, account); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return "", "", plane.BadRequest("containerUri", "The storage account '%s' of 'containerUri' is not one of this emulator, which copies from its own accounts alone.", account)
		}
		return "", "", err
	}
	return account, container, nil
}

// tryContainerSAS asks storage whether the SAS lists and reads the container.
func (s *Service) tryContainerSAS(ctx context.Context, account, container, sas string) error {
	q, err := url.ParseQuery(sas)
	if err != nil {
		return plane.BadRequest("containerSas", "The 'containerSas' is not a query string.")
	}
	if !strings.Contains(q.Get("sp"), "r") || !strings.Contains(q.Get("sp"), "l") {
		return plane.BadRequest("containerSas", "The 'containerSas' must permit reading and listing the container.")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+account+blobHost+"/"+container+"?restype=container&comp=list&maxresults=1&"+sas, nil)
	if err != nil {
		return plane.BadRequest("containerSas", "The 'containerSas' is not a query string.")
	}
	// A server's request has what a client's leaves to the transport.
	req.RequestURI, req.Body, req.TLS = req.URL.RequestURI(), http.NoBody, &tls.ConnectionState{}
	req.Header.Set("X-Ms-Version", "2018-03-28")
	status := &statusOnly{header: http.Header{}}
	s.blobs.ServeHTTP(status, req)
	switch {
	case status.code == http.StatusOK:
		return nil
	case status.code == http.StatusNotFound:
		return plane.BadRequest("containerUri", "The container '%s' of storage account '%s' was not found.", container, account)
	default:
		return &plane.Error{Status: http.StatusForbidden, Code: "UserError", Inner: "AuthorizationFailed", Target: "containerSas",
			Message: fmt.Sprintf("The storage account '%s' does not accept the 'containerSas' for container '%s'.", account, container)}
	}
}

// statusOnly is a ResponseWriter that keeps the status.
type statusOnly struct {
	header http.Header
	code   int
}

func (w *statusOnly) Header() http.Header { return w.header }

func (w *statusOnly) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
}

func (w *statusOnly) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(b), nil
}
