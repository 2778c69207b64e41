package arm_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"lazulite.dev/emulator/arm"
)

// Ensure that a type's 404 has its own reason phrase, over a socket and in
// process, with the headers and the body that others have.
func TestPhrase(t *testing.T) {
	r := newRig(t, func(c *arm.Config) {
		c.Providers = append(c.Providers, arm.Provider{Namespace: "Microsoft.Talk", Registered: true, Types: []arm.Type{{Name: "Microsoft.Talk/words", Versions: arm.Versions{From: "2018-01-01"},
			NotFound: &arm.Error{Code: "WordNotFound", Message: "The word %s is not found", Phrase: "The word %s is not found\r\nX: y"}}}})
	})
	r.group()
	server := httptest.NewServer(r.engine)
	defer server.Close()
	for name, tt := range map[string]struct {
		client *http.Client
		base   string
	}{"Socket": {server.Client(), server.URL}, "InProcess": {&http.Client{Transport: r.engine.Transport()}, "https://management.azure.com"}} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // on a connection each
				q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.base+"/subscriptions/"+sub+"/resourceGroups/g/providers/Microsoft.Talk/words/hi?api-version=2018-05-01", nil)
				if err != nil {
					t.Fatal(err)
				}
				q.Header.Set("Authorization", "Bearer x")
				a, err := tt.client.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(a.Body)
				_ = a.Body.Close()
				if err != nil || a.Status != "404 The word hi is not found  X: y" || string(body) != `{"error":{"code":"WordNotFound","message":"The word hi is not found"}}` {
					t.Fatalf("%q %s %v", a.Status, body, err)
				}
				if a.Header.Get("X") != "" || a.Header.Get("X-Ms-Request-Id") == "" || a.Header.Get("Content-Type") != "application/json; charset=utf-8" {
					t.Errorf("headers %v", a.Header)
				}
			}
		})
	}
}
