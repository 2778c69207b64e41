package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// versionBlob is that of the storage clients of 2018.
const versionBlob = "2018-03-28"

// storageKey is the workspace's storage account with a key of it.
type storageKey struct {
	account string
	key     []byte
}

func (s *session) storageKey() storageKey {
	r := s.get(s.workspace().path, versionWorkspace)
	s.status(r, http.StatusOK)
	path := s.text(r, "properties", "storageAccount")
	r = s.send(http.MethodPost, path+"/listKeys", versionStorage, nil)
	s.status(r, http.StatusOK)
	value, _ := item(r.Value("keys"), "value").(string)
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) == 0 {
		s.fail("the key of the storage account is no base64")
	}
	return storageKey{path[strings.LastIndex(path, "/")+1:], key}
}

func (k storageKey) sign(text string) string {
	m := hmac.New(sha256.New, k.key)
	_, _ = m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// sas signs a read of a container from a time to another, as "Constructing a Service SAS" has it.
func (k storageKey) sas(container, permissions string, from, to time.Time) string {
	q := url.Values{"sv": {versionBlob}, "sr": {"c"}, "sp": {permissions},
		"st": {from.UTC().Format(time.RFC3339)}, "se": {to.UTC().Format(time.RFC3339)}}
	fields := []string{q.Get("sp"), q.Get("st"), q.Get("se"), "/blob/" + k.account + "/" + container, "", "", "", versionBlob, "", "", "", "", ""}
	q.Set("sig", k.sign(strings.Join(fields, "\n")))
	return q.Encode()
}

// authorized is a GET of a container's list with the account's key, or one that is not.
func (k storageKey) authorized(container string) wire.Request {
	date := time.Now().UTC().Format(http.TimeFormat)
	text := "GET" + strings.Repeat("\n", 12) + "x-ms-date:" + date + "\nx-ms-version:" + versionBlob + "\n/" + k.account + "/" + container + "\ncomp:list\nrestype:container"
	return wire.Request{Method: http.MethodGet, NoToken: true, URL: "https://" + k.account + ".blob.core.windows.net/" + container + "?restype=container&comp=list",
		Header: http.Header{"X-Ms-Date": {date}, "X-Ms-Version": {versionBlob}, "Authorization": {"SharedKey " + k.account + ":" + k.sign(text)}}}
}

func storageSpecs() []spec {
	return []spec{
		{"aml.storage.key", func(s *session) {
			k := s.storageKey()
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "outputs/m.txt", "weights")
			r := s.do(k.authorized("azureml"))
			s.status(r, http.StatusOK)
			s.Expect(string(r.Body)).To(gomega.ContainSubstring("ExperimentRun/" + id + "/outputs/m.txt"))
			k.key = append([]byte("x"), k.key[1:]...)
			s.status(s.do(k.authorized("azureml")), http.StatusForbidden)
		}},
		{"aml.storage.sas", func(s *session) {
			k := s.storageKey()
			id, _ := s.newRun(nil)
			s.upload("ExperimentRun", id, "outputs/m.txt", "weights")
			now := time.Now()
			open := func(method, signature string) *wire.Response {
				r := wire.Request{Method: method, NoToken: true, Header: http.Header{"X-Ms-Version": {versionBlob}},
					URL: "https://" + k.account + ".blob.core.windows.net/azureml/ExperimentRun/" + id + "/outputs/m.txt?" + signature}
				if method == http.MethodPut {
					r.Body = "other"
					r.Header.Set("X-Ms-Blob-Type", "BlockBlob")
				}
				return s.do(r)
			}
			s.status(open(http.MethodGet, k.sas("azureml", "r", now.Add(-time.Hour), now.Add(time.Hour))), http.StatusOK)
			for _, bad := range []string{
				k.sas("azureml", "r", now.Add(-2*time.Hour), now.Add(-time.Hour)),
				k.sas("azureml", "r", now.Add(time.Hour), now.Add(2*time.Hour)),
				k.sas("azureml", "w", now.Add(-time.Hour), now.Add(time.Hour)),
				k.sas("other", "r", now.Add(-time.Hour), now.Add(time.Hour)),
			} {
				s.status(open(http.MethodGet, bad), http.StatusForbidden)
			}
			s.status(open(http.MethodPut, k.sas("azureml", "r", now.Add(-time.Hour), now.Add(time.Hour))), http.StatusForbidden)
			s.Expect(s.download("ExperimentRun", id, "outputs/m.txt")).To(gomega.Equal("weights"), "a refused write changed it")
		}},
	}
}
