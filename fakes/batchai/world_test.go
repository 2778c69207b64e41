package batchai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/arm/armtest"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/store"
	"lazulite.dev/fakes/batchai"
	"lazulite.dev/fakes/batchai/pool"
)

const (
	sub       = "/subscriptions/00000000-0000-0000-0000-000000000001"
	group     = sub + "/resourceGroups/Rg"
	provider  = group + "/providers/Microsoft.BatchAI"
	workspace = provider + "/workspaces/w"
	jobs      = workspace + "/experiments/e/jobs/"
	password  = "Correct-Horse-7"
	key       = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="
)

// storage is an account "acct" of folders: its share "share" and its container "box".
type storage struct{ dir string }

func (s storage) find(account, k, name string) (string, error) {
	if account != "acct" || k != key {
		return "", &arm.Error{Status: 400, Code: "AuthenticationFailed", Message: "Server failed to authenticate the request."}
	}
	dir := filepath.Join(s.dir, name)
	if _, err := os.Stat(dir); err != nil {
		return "", &arm.Error{Status: 400, Code: "ShareNotFound", Message: "The specified share does not exist."}
	}
	return dir, nil
}

func (s storage) Share(_ context.Context, account, k, share string) (string, error) {
	return s.find(account, k, share)
}

func (s storage) Container(_ context.Context, account, k, container string) (pool.Mounted, error) {
	dir, err := s.find(account, k, container)
	return pool.Mounted{Dir: dir}, err
}

func (s storage) Files(_ context.Context, at batchai.Place, folder string, expiry time.Time) ([]batchai.File, error) {
	dir, err := s.find(at.Account, at.Key, at.Name)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var out []batchai.File
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		out = append(out, batchai.File{Name: e.Name(), Folder: e.IsDir(), URL: "https://acct.file.core.windows.net/" + at.Name + "/" + folder + "/" + e.Name() + "?se=" + expiry.UTC().Format(time.RFC3339),
			Modified: info.ModTime(), Size: info.Size()})
	}
	return out, nil
}

// service is the fake behind the real ARM engine, spoken to in HTTP.
type service struct {
	*testing.T
	dir    string
	engine *engine.Process
	fake   *batchai.Fake
	store  *store.Store
	arm    *arm.Engine
	way    http.RoundTripper
}

func newService(t *testing.T, change ...func(*batchai.Config)) *service {
	t.Helper()
	s := &service{T: t, dir: t.TempDir()}
	for _, d := range []string{"share", "box"} {
		if err := os.MkdirAll(filepath.Join(s.dir, "storage", d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s.open(change...)
	t.Cleanup(s.close)
	s.must(201, "PUT "+group, `{"location":"northeurope"}`)
	s.must(200, "PUT "+workspace, `{"location":"northeurope"}`)
	s.must(200, "PUT "+workspace+"/experiments/e", "")
	return s
}

func (s *service) open(change ...func(*batchai.Config)) {
	s.Helper()
	var err error
	if s.engine, err = engine.NewProcess(engine.Config{Dir: filepath.Join(s.dir, "engine")}); err != nil {
		s.Fatal(err)
	}
	cfg := batchai.Config{Engine: s.engine, Dir: filepath.Join(s.dir, "clusters"), Storage: storage{filepath.Join(s.dir, "storage")},
		Folders: []string{filepath.Join(s.dir, "storage")}}
	for _, f := range change {
		f(&cfg)
	}
	s.fake = batchai.New(cfg)
	if s.store, err = store.Open(store.Config{Path: filepath.Join(s.dir, "arm.db")}); err != nil {
		s.Fatal(err)
	}
	if s.arm, err = arm.New(arm.Config{Store: s.store, Subscriptions: []arm.Subscription{{ID: strings.TrimPrefix(sub, "/subscriptions/")}}, Providers: s.fake.Providers(),
		Authenticate: func(*http.Request) error { return nil }}); err != nil {
		s.Fatal(err)
	}
	s.way = openapitest.Transport(s, s.arm.Transport())
	if err := errors.Join(s.fake.Open(s.Context()), s.arm.Open(s.Context())); err != nil {
		s.Fatal(err)
	}
}

func (s *service) close() {
	if s.arm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(s.arm.Close(ctx), s.fake.Close(ctx), s.engine.Close(ctx), s.store.Close()); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.arm = nil
}

// answer is what came back.
type answer struct {
	status int
	line   string
	header http.Header
	body   string
	doc    map[string]any
}

// at is the value at a path of the document: "properties.errors.0.code".
func (a answer) at(path string) any {
	var v any = a.doc
	for _, part := range strings.Split(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// do sends "METHOD path"; without an api-version it is 2018-05-01.
func (s *service) do(line, body string) answer {
	s.Helper()
	r := armtest.Do(s, s.way, "2018-05-01", line, body)
	a := answer{status: r.Status, line: r.Line, header: r.Header, body: string(r.Body), doc: r.Object()}
	return a
}

// must checks the status, and follows the operation to its good end if there is one.
func (s *service) must(status int, line, body string) answer {
	s.Helper()
	a := s.do(line, body)
	if a.status != status {
		s.Fatalf("%s: %d, want %d: %s", line, a.status, status, a.body)
	}
	if url := a.header.Get("Azure-Asyncoperation"); url != "" {
		if end := s.until("GET "+url, "status", func(v any) bool { return v != "InProgress" }); end.doc["status"] != "Succeeded" {
			s.Fatalf("%s ended as %v", line, end.body)
		}
	}
	return a
}

// until asks again until a value is as it should be.
func (s *service) until(line, path string, good func(any) bool) answer {
	s.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		a := s.do(line, "")
		if good(a.at(path)) {
			return a
		}
		select {
		case <-tick.C:
		case <-limit:
			s.Fatalf("%s: %s never came: %s", line, path, a.body)
		}
	}
}

func is(want any) func(any) bool { return func(v any) bool { return v == want } }

// cluster is a cluster's body; more goes into its properties.
func cluster(scale string, more ...string) string {
	return `{"properties":{"vmSize":"STANDARD_D1","userAccountSettings":{"adminUserName":"me","adminUserPassword":"` + password + `"},"scaleSettings":` + scale + strings.Join(append([]string{""}, more...), ",") + `}}`
}

func manual(n int) string { return fmt.Sprintf(`{"manual":{"targetNodeCount":%d}}`, n) }

const withShare = `"nodeSetup":{"mountVolumes":{"azureFileShares":[{"accountName":"acct","azureFileUrl":"https://acct.file.core.windows.net/share","credentials":{"accountKey":"` + key + `"},"relativeMountPath":"afs"}],
"azureBlobFileSystems":[{"accountName":"acct","containerName":"box","credentials":{"accountKey":"` + key + `"},"relativeMountPath":"bfs"}]}}`

// job is a job's body on the cluster "c".
func job(command string, more ...string) string {
	c, _ := json.Marshal(command)
	return `{"properties":{"cluster":{"id":"` + workspace + `/clusters/c"},"nodeCount":1,"stdOutErrPathPrefix":"$AZ_BATCHAI_MOUNT_ROOT/afs","customToolkitSettings":{"commandLine":` + string(c) + `}` + strings.Join(append([]string{""}, more...), ",") + `}}`
}
