package openapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/conformance/openapi"
	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/conformance/replay"
)

func load(t *testing.T, dir string) *openapi.Documents {
	t.Helper()
	docs, err := openapi.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCheck(t *testing.T) {
	docs := load(t, "testdata/widgets")
	const one = "/subscriptions/s/providers/Contoso.Widgets/widgets/w"
	for _, tt := range []struct {
		name, method, path string
		status             int
		body               string
		want               []string // kind and place of each deviation
	}{
		{"as documented", "GET", one, 200, `{"id":"x","properties":{"kind":"round","radius":3,"made":"2018-10-01T00:00:00Z","state":"On","notes":{"a":"b"}}}`, nil},
		{"in any case of the path", "GET", strings.ToUpper(one), 200, `{"id":"x"}`, nil},
		{"null is absent", "GET", one, 200, `{"id":null,"properties":{"kind":"flat","key":null}}`, nil},
		{"an open enumeration", "GET", one, 200, `{"properties":{"kind":"flat","mood":"Bad"}}`, nil},
		{"a documented error", "GET", one, 404, `{"error":{"code":"NotFound"}}`, nil},
		{"the more literal path", "GET", "/subscriptions/s/providers/Contoso.Widgets/widgets/default", 200, `[]`, nil},
		{"a status that isn't declared", "GET", one, 201, `{}`, []string{"status 201"}},
		{"no body", "GET", one, 200, ``, []string{"shape "}},
		{"no JSON", "GET", one, 200, `<html>`, []string{"shape "}},
		{"a type", "GET", one, 200, `{"id":5}`, []string{"shape id"}},
		{"a type deep in a circle", "GET", one, 200, `{"parts":[{"parts":[{"name":true}]}]}`, []string{"shape parts[].parts[].name"}},
		{"a required property", "GET", one, 200, `{"properties":{}}`, []string{"shape properties.kind"}},
		{"a closed enumeration", "GET", one, 200, `{"properties":{"kind":"flat","state":"on"}}`, []string{"shape properties.state"}},
		{"a date", "GET", one, 200, `{"properties":{"kind":"flat","made":"yesterday"}}`, []string{"shape properties.made"}},
		{"a subtype's property", "GET", one, 200, `{"properties":{"kind":"round"}}`, []string{"shape properties.radius"}},
		{"a map's value", "GET", one, 200, `{"properties":{"kind":"flat","notes":{"a":1}}}`, []string{"shape properties.notes.*"}},
		{"a secret", "GET", one, 200, `{"properties":{"kind":"flat","key":"hush"}}`, []string{"secret properties.key"}},
		{"a property beyond the document", "GET", one, 200, `{"colour":"blue"}`, []string{"undeclared colour"}},
		{"an error of another shape", "GET", one, 404, `{"message":"no"}`, []string{"shape error", "undeclared message"}},
		{"an item of a list", "GET", "/subscriptions/s/providers/Contoso.Widgets/widgets", 200, `{"value":[{"id":1}]}`, []string{"shape value[].id"}},
		{"a list that is none", "GET", "/subscriptions/s/providers/Contoso.Widgets/widgets", 200, `{"value":{}}`, []string{"shape value"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, documented := docs.Check(openapi.Exchange{Method: tt.method, URL: parse(t, "https://x"+tt.path+"?api-version=2018-01-01"), Status: tt.status, Body: []byte(tt.body)})
			if !documented {
				t.Fatal("no document was found")
			}
			var got []string
			for _, d := range found {
				got = append(got, d.Kind+" "+d.At)
				if d.Operation == "" || d.Version != "2018-01-01" || d.Text == "" {
					t.Errorf("an incomplete deviation: %+v", d)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q: %v", got, tt.want, found)
			}
		})
	}
	for _, u := range []string{one + "?api-version=2019-01-01", "/subscriptions/s/providers/Contoso.Widgets/widgets/w/x?api-version=2018-01-01"} {
		if _, documented := docs.Check(openapi.Exchange{Method: "GET", URL: parse(t, "https://x"+u), Status: 200}); documented {
			t.Errorf("%s has no document", u)
		}
	}
}

// TestWatch looks at traffic from both ends and passes it on unchanged.
func TestWatch(t *testing.T) {
	docs := load(t, "testdata/widgets")
	client, err := openapi.NewWatch(docs)
	if err != nil {
		t.Fatal(err)
	}
	server, err := openapi.NewWatch(docs)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"id":5}`
	s := httptest.NewServer(server.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, body)
	})))
	defer s.Close()
	c := &http.Client{Transport: client.Transport(http.DefaultTransport)}
	for _, path := range []string{"/subscriptions/s/providers/Contoso.Widgets/widgets/w?api-version=2018-01-01", "/else"} {
		resp, err := c.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != body {
			t.Errorf("%s: %q, %v", path, b, err)
		}
		_ = resp.Body.Close()
	}
	for name, w := range map[string]*openapi.Watch{"client": client, "server": server} {
		if fresh := w.Fresh(); len(fresh) != 1 || !strings.Contains(fresh[0], "Widgets_Get") || len(w.Fresh()) != 0 {
			t.Errorf("%s: fresh deviations: %q", name, fresh)
		}
		answers, operations, beyond := w.Sums()
		if answers != 1 || operations != 1 || beyond != 1 || len(w.Deviations()) != 1 {
			t.Errorf("%s: %d %d %d %v", name, answers, operations, beyond, w.Deviations())
		}
	}
}

// TestRecordings holds real Azure's answers against its documents: what they
// deviate in is all in the list, and each line of evidence from them is true.
func TestRecordings(t *testing.T) {
	folder := openapitest.Folder(t)
	if folder == "" {
		t.Skip("no recordings and documents at hand")
	}
	w, err := openapi.NewWatch(load(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(openapitest.Shared(), "recordings", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("recordings: %v, %v", files, err)
	}
	for _, f := range files {
		c, err := replay.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Exchanges {
			u, err := url.Parse(e.URL)
			if err != nil || u.Hostname() != "management.azure.com" {
				continue
			}
			for _, d := range w.See(openapi.Exchange{Method: e.Method, URL: u, Status: e.Answer.Status, Body: []byte(e.Answer.Body)}) {
				t.Errorf("%s: %s", filepath.Base(f), d)
			}
		}
	}
	if answers, _, _ := w.Sums(); answers < 200 {
		t.Errorf("only %d recorded answers have a document", answers)
	}
}
