package conformance

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

func (w *workspace) artifacts() string { return w.scope("artifact") + "/artifacts" }

type contentInfo struct{ ContentURI, Origin, Container, Path string }

type artifact struct{ ArtifactID, Origin, Container, Path string }

type batch struct {
	Artifacts                  map[string]artifact
	ArtifactContentInformation map[string]contentInfo
	Errors                     map[string]any
}

// announce asks where to upload paths, as upload_file does.
func (s *session) announce(origin, container string, paths ...string) batch {
	var list []any
	for _, p := range paths {
		list = append(list, map[string]string{"path": p})
	}
	b := decode[batch](s, s.data(http.MethodPost, s.workspace().artifacts()+"/batch/metadata/"+origin+"/"+container, map[string]any{"paths": list}))
	if len(b.Errors) > 0 {
		s.fail("batch/metadata of %v gave errors: %v", paths, b.Errors)
	}
	for _, p := range paths {
		if b.Artifacts[p].ArtifactID == "" || b.ArtifactContentInformation[p].ContentURI == "" {
			s.fail("batch/metadata has no answer under the key %q, as it was sent: %v", p, b)
		}
	}
	return b
}

// upload announces one path and uploads it to the URL that the SDK would build from the answer.
func (s *session) upload(origin, container, path, content string) artifact {
	b := s.announce(origin, container, path)
	a := b.Artifacts[path]
	u := blobURL(s, b.ArtifactContentInformation[path].ContentURI, a.ArtifactID)
	id := base64.StdEncoding.EncodeToString([]byte("000000000000000000000000000000000000000000000000"))
	s.blob(http.MethodPut, u+"&comp=block&blockid="+url.QueryEscape(id), content, http.StatusCreated)
	s.blob(http.MethodPut, u+"&comp=blocklist", "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>"+id+"</Latest></BlockList>", http.StatusCreated)
	return a
}

// blobURL is what azureml makes of a contentUri: account, container and SAS from the URL, but the artifact's id for the name.
func blobURL(s *session, contentURI, artifactID string) string {
	u, err := url.Parse(contentURI)
	if err != nil || u.RawQuery == "" {
		s.fail("the contentUri %q is no URL with a SAS", wire.Redact(contentURI))
	}
	account, _, _ := strings.Cut(u.Host, ".")
	container, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return "https://" + account + ".blob.core.windows.net/" + container + "/" + artifactID + "?" + u.RawQuery
}

// blob sends a request with nothing but the SAS in its URL.
func (s *session) blob(method, u, body string, want int) *wire.Response {
	r := wire.Request{Method: method, URL: u, NoToken: true, Header: http.Header{"X-Ms-Version": {"2018-03-28"}}}
	if method == http.MethodPut {
		r.Body = body
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	resp := s.do(r)
	s.status(resp, want)
	return resp
}

// download reads an artifact by its contentUri.
func (s *session) download(origin, container, path string) string {
	r := s.data(http.MethodGet, s.workspace().artifacts()+"/contentinfo/"+origin+"/"+container+"/"+path, nil)
	return string(s.blob(http.MethodGet, s.text(r, "contentUri"), "", http.StatusOK).Body)
}

func artifactPaths(list []artifact) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.Path)
	}
	return out
}

func artifactSpecs() []spec {
	return []spec{
		{"aml.artifact.upload", func(s *session) {
			id, _ := s.newRun(nil)
			a := s.upload("ExperimentRun", id, "./outputs/m.txt", "weights")
			s.Expect(a.Path).To(gomega.Equal("outputs/m.txt"))
			s.Expect(a.ArtifactID).To(gomega.Equal("ExperimentRun/" + id + "/outputs/m.txt"))
			s.Expect(s.download("ExperimentRun", id, "outputs/m.txt")).To(gomega.Equal("weights"))
			s.upload("ExperimentRun", id, "./outputs/m.txt", "other weights")
			s.Expect(s.download("ExperimentRun", id, "outputs/m.txt")).To(gomega.Equal("other weights"), "a second upload replaces the first")
		}},
		{"aml.artifact.list", func(s *session) {
			id, _ := s.newRun(nil)
			for _, p := range []string{"outputs/a.txt", "outputs/sub/b.txt", "driver_log"} {
				s.upload("ExperimentRun", id, p, p)
			}
			w := s.workspace()
			list := paged[artifact](s, w.artifacts()+"/origins/ExperimentRun/containers/"+id)
			s.Expect(artifactPaths(list)).To(gomega.ConsistOf("outputs/a.txt", "outputs/sub/b.txt", "driver_log"))
			prefixed := paged[contentInfo](s, w.artifacts()+"/prefix/contentinfo/ExperimentRun/"+id+"/outputs")
			s.Expect(prefixed).To(gomega.HaveLen(2), "the contents below outputs")
			for _, c := range prefixed {
				s.Expect(string(s.blob(http.MethodGet, c.ContentURI, "", http.StatusOK).Body)).To(gomega.Equal(c.Path))
			}
		}},
		{"aml.artifact.append", func(s *session) {
			id, u := s.newRun(nil)
			path := s.workspace().artifacts() + "/content/ExperimentRun/" + id + "/azureml-logs/80_driver_log.txt?append=true"
			for _, line := range []string{"one\n", "two\n"} {
				s.status(s.do(wire.Request{Method: http.MethodPost, URL: path, Body: line,
					Header: http.Header{"Content-Type": {"application/octet-stream"}}}), http.StatusOK)
			}
			d := decode[details](s, s.data(http.MethodGet, u+"/details", nil))
			log := d.LogFiles["azureml-logs/80_driver_log.txt"]
			if log == "" {
				s.fail("logFiles of the details lacks azureml-logs/80_driver_log.txt: %v", d.LogFiles)
			}
			// The SDK reads logs with no token.
			s.Expect(string(s.blob(http.MethodGet, log, "", http.StatusOK).Body)).To(gomega.Equal("one\ntwo\n"))
		}},
		{"aml.artifact.appendblob", func(s *session) {
			id, _ := s.newRun(nil)
			b := s.announce("ExperimentRun", id, "./logs/extra.log")
			u := blobURL(s, b.ArtifactContentInformation["./logs/extra.log"].ContentURI, b.Artifacts["./logs/extra.log"].ArtifactID)
			r := s.do(wire.Request{Method: http.MethodPut, URL: u, NoToken: true, Body: "",
				Header: http.Header{"X-Ms-Version": {"2018-03-28"}, "X-Ms-Blob-Type": {"AppendBlob"}}})
			s.status(r, http.StatusCreated)
			s.blob(http.MethodPut, u+"&comp=appendblock", "line 1\n", http.StatusCreated)
			s.blob(http.MethodPut, u+"&comp=appendblock", "line 2\n", http.StatusCreated)
			s.Expect(s.download("ExperimentRun", id, "logs/extra.log")).To(gomega.Equal("line 1\nline 2\n"))
		}},
		{"aml.artifact.sas", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "outputs/m.txt", "weights")
			r := s.data(http.MethodGet, s.workspace().artifacts()+"/contentinfo/ExperimentRun/"+id+"/outputs/m.txt", nil)
			u, err := url.Parse(s.text(r, "contentUri"))
			s.must(err)
			for _, change := range []func(q url.Values){
				func(q url.Values) { q.Set("sig", flip(q.Get("sig"))) },
				func(q url.Values) { q.Set("se", "2999-01-01T00:00:00Z") },
				func(q url.Values) { clear(q) },
			} {
				q := u.Query()
				change(q)
				bad := *u
				bad.RawQuery = q.Encode()
				got := s.do(wire.Request{Method: http.MethodGet, URL: bad.String(), NoToken: true})
				if got.Status != http.StatusForbidden && got.Status != http.StatusNotFound && got.Status != http.StatusConflict && got.Status != http.StatusUnauthorized {
					s.fail("%s; a SAS that was changed, or none, opens nothing", got)
				}
			}
			// The SAS of a read opens no write.
			got := s.do(wire.Request{Method: http.MethodPut, URL: u.String() + "&comp=block&blockid=AAAA", NoToken: true, Body: "x"})
			if got.OK() && !strings.ContainsAny(u.Query().Get("sp"), "wc") {
				s.fail("%s; its SAS allows %q alone", got, u.Query().Get("sp"))
			}
		}},
		{"aml.artifact.blocks", func(s *session) {
			id, _ := s.newRun(nil)
			b := s.announce("ExperimentRun", id, "./outputs/big.bin")
			u := blobURL(s, b.ArtifactContentInformation["./outputs/big.bin"].ContentURI, b.Artifacts["./outputs/big.bin"].ArtifactID)
			var list, want strings.Builder
			for i := range 3 {
				block, content := base64.StdEncoding.EncodeToString([]byte{'b', byte('0' + i)}), strings.Repeat(string(rune('a'+i)), 100_000)
				s.blob(http.MethodPut, u+"&comp=block&blockid="+url.QueryEscape(block), content, http.StatusCreated)
				list.WriteString("<Latest>" + block + "</Latest>")
				want.WriteString(content)
			}
			s.blob(http.MethodPut, u+"&comp=blocklist", "<?xml version='1.0' encoding='utf-8'?>\n<BlockList>"+list.String()+"</BlockList>", http.StatusCreated)
			if got := s.download("ExperimentRun", id, "outputs/big.bin"); got != want.String() {
				s.fail("300000 bytes in three blocks come back as %d bytes", len(got))
			}
		}},
		{"aml.artifact.range", func(s *session) {
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "./outputs/m.txt", "0123456789")
			r := s.data(http.MethodGet, s.workspace().artifacts()+"/contentinfo/ExperimentRun/"+id+"/outputs/m.txt", nil)
			got := s.do(wire.Request{Method: http.MethodGet, URL: s.text(r, "contentUri"), NoToken: true, Header: http.Header{"X-Ms-Version": {"2018-03-28"}, "X-Ms-Range": {"bytes=3-6"}}})
			s.status(got, http.StatusPartialContent)
			s.Expect(string(got.Body)).To(gomega.Equal("3456"))
			s.Expect(got.Header.Get("Content-Range")).To(gomega.Equal("bytes 3-6/10"))
		}},
		{"aml.artifact.absent", func(s *session) {
			id, _ := s.newRun(nil)
			s.lost(s.do(wire.Request{Method: http.MethodGet, URL: s.workspace().artifacts() + "/contentinfo/ExperimentRun/" + id + "/outputs/absent.txt"}))
			s.Expect(paged[artifact](s, s.workspace().artifacts()+"/origins/ExperimentRun/containers/"+id)).To(gomega.BeEmpty())
		}},
	}
}
