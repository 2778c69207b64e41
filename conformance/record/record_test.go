package record_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/record"
	"lazulite.dev/conformance/replay"
	"lazulite.dev/conformance/wire"
	"lazulite.dev/emulator"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// service answers with what it is told in the body of the request.
func service(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	rec.Header().Set("Location", "https://x.blob.core.windows.net/c?sv=2018&sig=abcdef%2B123&se=1")
	rec.WriteHeader(http.StatusAccepted)
	_, _ = rec.Write(body)
	a := rec.Result()
	a.Request = r
	return a, nil
}

func ask(t *testing.T, h http.Handler, url, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, url, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("t", 30))
	r.Header.Set("X-Ms-Client-Request-Id", "kept")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusAccepted || w.Body.String() != body {
		t.Fatalf("%s was answered %d %s, not as the service did", url, w.Code, w.Body)
	}
}

func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "r.json")
	const sub = "A1B2C3D4-0000-1111-2222-333344445555"
	r, err := record.New(record.Config{File: file, Transport: transport(service), Zero: []string{sub}, Secrets: []string{"from-the-environment"}})
	if err != nil {
		t.Fatal(err)
	}
	const arm = "https://management.azure.com/subscriptions/" + sub
	ask(t, r, "https://login.microsoftonline.com/t/oauth2/token", `{"access_token":"authority-token"}`)
	ask(t, r, arm+"/x?api-version=1&code=query-code", `{"adminPassword":"hush-hush-1","name":"vm1","note":"hush-hush-1 again"}`)
	ask(t, r, arm+"/keys", `{"keys":[{"keyName":"key1","permissions":"Full","value":"account+key/base64=="}]}`)
	ask(t, r, arm+"/later", `{"text":"AccountKey=account+key/base64==;x","url":"https://a/b?sig=zzz%3D","sub":"`+strings.ToLower(sub)+`"}`)
	ask(t, r, arm+"/env", `{"any":"from-the-environment"}`)
	ask(t, r, arm+"/template", `{"adminPassword":"[parameters('adminPassword')]","parameters":{"adminPassword":{"value":"nested-secret"}},"accessToken":{"deep":["listed-secret"]}}`)
	if n, err := r.Close(); n != 5 || err != nil {
		t.Fatalf("%d exchanges, %v", n, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, secret := range []string{"authority-token", "ttttt", "query-code", "hush-hush-1", "account+key", "zzz", "abcdef", "from-the-environment", "nested-secret", "listed-secret",
		sub, strings.ToLower(sub)} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the recording", secret)
		}
	}
	c, err := replay.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Exchanges) != 5 {
		t.Fatalf("%d exchanges", len(c.Exchanges))
	}
	e := c.Exchanges[0]
	if e.Header.Get("X-Ms-Client-Request-Id") != "kept" || e.Answer.Status != 202 || !strings.Contains(e.Body, `"name":"vm1"`) || !strings.Contains(e.Body, "SECRET again") ||
		!strings.Contains(e.URL, "/subscriptions/00000000-0000-0000-0000-000000000000/x?") || !strings.Contains(e.Answer.Header.Get("Location"), "sig=SECRET&se=1") {
		t.Errorf("the first exchange became %+v", e)
	}
	if !strings.Contains(c.Exchanges[4].Body, "[parameters('adminPassword')]") {
		t.Errorf("the template's expression was taken for a secret: %s", c.Exchanges[4].Body)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the recording's mode is %v, %v", info.Mode(), err)
	}
}

func TestUnreachable(t *testing.T) {
	r, err := record.New(record.Config{File: filepath.Join(t.TempDir(), "r.json"),
		Transport: transport(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("no way for Bearer abcdefghijklm") })})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://management.azure.com/x", nil))
	if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "no way") || strings.Contains(w.Body.String(), "abcdef") || r.Count() != 0 {
		t.Errorf("%d %s, %d written", w.Code, w.Body, r.Count())
	}
	if _, err := record.New(record.Config{File: "/dev/null/r.json"}); err == nil {
		t.Error("a file that can't be written was taken")
	}
}

func up(t *testing.T) (*emulator.Emulator, wire.Config) {
	t.Helper()
	e, err := emulator.New(emulator.Config{Dir: t.TempDir(), Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := e.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	id := e.Identity()
	return e, wire.Config{Endpoint: "https://management.azure.com", Authority: "https://login.microsoftonline.com", Tenant: id.Tenant, ClientID: id.ClientID, ClientSecret: id.ClientSecret,
		HTTPClient: &http.Client{Transport: e.Transport()}}
}

// What was recorded of one emulator another one answers alike.
func TestRoundTrip(t *testing.T) {
	source, cfg := up(t)
	id := source.Identity()
	file := filepath.Join(t.TempDir(), "r.json")
	r, err := record.New(record.Config{File: file, Transport: source.Transport(), Zero: []string{id.Subscription, id.Tenant}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTPClient = &http.Client{Transport: transport(func(q *http.Request) (*http.Response, error) {
		q = q.Clone(q.Context())
		q.Host, q.RequestURI = q.URL.Host, ""
		if q.Body == nil {
			q.Body = http.NoBody
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, q)
		a := w.Result()
		a.Request = q
		return a, nil
	})}
	client, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	group := "/subscriptions/" + id.Subscription + "/resourceGroups/rg"
	do := func(method, path, version string, body any) *wire.Response {
		t.Helper()
		a, err := client.Do(ctx, wire.Request{Method: method, URL: path, Version: version, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Await(ctx, a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	do("PUT", group, "2018-05-01", map[string]any{"location": "eastus2"})
	account := group + "/providers/Microsoft.Storage/storageAccounts/recorded1"
	do("PUT", account, "2018-02-01", map[string]any{"location": "eastus2", "kind": "Storage", "sku": map[string]string{"name": "Standard_LRS"}})
	keys := do("POST", account+"/listKeys", "2018-02-01", nil)
	do("GET", account+"x", "2018-02-01", nil)
	do("DELETE", group, "2018-05-01", nil)
	var doc struct{ Keys []struct{ Value string } }
	if err := json.Unmarshal(keys.Body, &doc); err != nil || len(doc.Keys) != 2 {
		t.Fatalf("%s: %v", keys, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{doc.Keys[0].Value, doc.Keys[1].Value, id.ClientSecret, id.Subscription, "access_token"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("%q is in the recording", secret)
		}
	}
	other, cfg2 := up(t)
	rep, err := replay.Run(ctx, replay.Config{Wire: cfg2, Subscription: other.Identity().Subscription}, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK() || rep.Counted < 5 {
		var text strings.Builder
		_ = rep.WriteText(&text)
		t.Errorf("the recording does not replay: %s", text.String())
	}
}
