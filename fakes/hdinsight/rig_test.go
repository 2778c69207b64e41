package hdinsight_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/arm/armtest"
	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/store"
	"lazulite.dev/fakes/hdinsight"
)

const (
	subscription = "11111111-2222-4333-8444-555555555555"
	group        = "/subscriptions/" + subscription + "/resourceGroups/g"
	clusters     = group + "/providers/Microsoft.HDInsight/clusters/"
	locations    = "/subscriptions/" + subscription + "/providers/Microsoft.HDInsight/locations/eastus/"
	secret       = "Correct-Horse7"
	scripts      = "https://scripts.example/"
)

// service is the fake behind the real resource manager, spoken to in HTTP.
type service struct {
	*testing.T
	engine engine.Engine
	fake   *hdinsight.Fake
	arm    *arm.Engine
	store  *store.Store
	way    http.RoundTripper
}

// script is a RoundTripper that has two scripts.
type script struct{}

func (script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, status := "", http.StatusNotFound
	switch r.URL.Path {
	case "/good.sh":
		body, status = "echo \"$1\" >>\"$HOME/ran\"\n", http.StatusOK
	case "/bad.sh":
		body, status = "echo it is broken >&2; exit 7\n", http.StatusOK
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

func newService(t *testing.T, change func(*hdinsight.Config)) *service {
	t.Helper()
	return serve(t, t.TempDir(), engine.NewSimulated(engine.Config{}), change)
}

func serve(t *testing.T, dir string, e engine.Engine, change func(*hdinsight.Config)) *service {
	t.Helper()
	s := &service{T: t, engine: e}
	cfg := hdinsight.Config{Engine: e, Dir: filepath.Join(dir, "clusters"), Transport: script{}, HighPorts: true}
	if change != nil {
		change(&cfg)
	}
	s.fake = hdinsight.New(cfg)
	var err error
	if s.store, err = store.Open(store.Config{Path: filepath.Join(dir, "arm.db")}); err != nil {
		t.Fatal(err)
	}
	if s.arm, err = arm.New(arm.Config{Store: s.store, Subscriptions: []arm.Subscription{{ID: subscription}}, Providers: []arm.Provider{s.fake.Provider()},
		Authenticate: func(*http.Request) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	s.way = openapitest.Transport(t, s.arm.Transport())
	if err := errors.Join(s.fake.Open(t.Context()), s.arm.Open(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(s.arm.Close(ctx), s.fake.Close(ctx), s.engine.Close(ctx), s.store.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	s.do("PUT "+group+"?api-version=2018-05-01", `{"location":"eastus"}`)
	return s
}

// do sends "METHOD path" and gives what came back.
func (s *service) do(line, body string) (int, http.Header, any) {
	s.Helper()
	a := armtest.Do(s, s.way, "2018-06-01-preview", line, body)
	return a.Status, a.Header, a.Doc
}

// must checks the status, and follows the operation to its end; want is the status word that it ends with.
func (s *service) must(status int, line, body string) any {
	s.Helper()
	out, end := s.follow(status, line, body)
	if end != "" && end != "Succeeded" {
		s.Fatalf("%s ends %s: %v", line, end, out)
	}
	return out
}

func (s *service) follow(status int, line, body string) (out any, end string) {
	s.Helper()
	got, header, out := s.do(line, body)
	if got != status {
		s.Fatalf("%s: %d, want %d: %v", line, got, status, out)
	}
	url := header.Get("Azure-Asyncoperation")
	if url == "" {
		return out, ""
	}
	var op any
	clocktest.Until(s, "end of "+line, time.Minute, func() bool {
		_, _, op = s.do("GET "+url, "")
		end, _ = at(op, "status").(string)
		return end != "InProgress"
	})
	if end == "Failed" {
		out = op
	}
	return out, end
}

// at follows members and indexes of a document.
func at(v any, path string) any {
	for _, p := range strings.Split(path, "/") {
		switch t := v.(type) {
		case map[string]any:
			v = t[p]
		case []any:
			i := int(p[0] - '0')
			if i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// body of a cluster, as az 2.0.50 writes it.
func body(kind string, workers string) string {
	os := `{"linuxOperatingSystemProfile":{"username":"sshuser","password":"` + secret + `"}}`
	return `{"location":"eastus","properties":{"clusterVersion":"default","osType":"Linux","clusterDefinition":{"kind":"` + kind + `","configurations":{"gateway":{` +
		`"restAuthCredential.isEnabled":"true","restAuthCredential.username":"admin","restAuthCredential.password":"` + secret + `"}}},` +
		`"storageProfile":{"storageaccounts":[{"name":"store.blob.core.windows.net","isDefault":true,"container":"cont","key":"a2V5"}]},` +
		`"computeProfile":{"roles":[{"name":"headnode","targetInstanceCount":2,"hardwareProfile":{"vmSize":"large"},"osProfile":` + os + `},` +
		`{"name":"workernode","targetInstanceCount":` + workers + `,"hardwareProfile":{"vmSize":"large"},"osProfile":` + os + `}]}}}`
}
