package aci_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/arm/armtest"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/store"
	"lazulite.dev/fakes/aci"
)

const (
	sub    = "/subscriptions/00000000-0000-0000-0000-000000000001"
	group  = sub + "/resourceGroups/rg"
	groups = group + "/providers/Microsoft.ContainerInstance/containerGroups/"
	// fast is how many times faster than real kubelet's waits pass in tests.
	fast = 20
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ACI_TEST_VICTIM"); dir != "" {
		victim(dir, os.Getenv("ACI_TEST_ENGINE"))
		return
	}
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// service is the fake behind the real ARM engine, spoken to in HTTP.
type service struct {
	testing.TB
	dir     string
	engine  engine.Engine
	fake    *aci.Fake
	store   *store.Store
	arm     *arm.Engine
	way     http.RoundTripper
	sockets *httptest.Server
}

// open makes what is there before a test's service: the engine of a kind, on a folder.
func openEngine(ctx context.Context, kind, dir string) (engine.Engine, error) {
	if kind == "process" {
		return engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "process")})
	}
	return docker.New(ctx, docker.Config{Host: os.Getenv("DOCKER_HOST"), Dir: filepath.Join(dir, "docker"), Keep: true})
}

func newService(t testing.TB, kind, dir string, change ...func(*aci.Config)) *service {
	t.Helper()
	e, err := openEngine(t.Context(), kind, dir)
	if errors.Is(err, engine.ErrNoEngine) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if d, ok := e.(*docker.Engine); ok {
		if has, err := d.Images().HasBase(t.Context()); err != nil || !has {
			_ = e.Close(context.Background())
			t.Skipf("there is no %s: run lazulite images build (%v)", docker.BaseImage, err)
		}
	}
	s, err := start(t.Context(), e, dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	s.TB = t
	if t, ok := t.(*testing.T); ok {
		s.way = openapitest.Transport(t, s.arm.Transport())
	}
	s.sockets = httptest.NewServer(s.fake)
	t.Cleanup(s.close)
	if code, _, _ := s.do("PUT "+group+"?api-version=2018-05-01", `{"location":"westus"}`); code >= 300 {
		t.Fatalf("the resource group: %d", code)
	}
	return s
}

func start(ctx context.Context, e engine.Engine, dir string, change ...func(*aci.Config)) (*service, error) {
	s := &service{dir: dir, engine: e}
	clk := clock.Scaled(fast)
	cfg := aci.Config{Engine: e, Dir: filepath.Join(dir, "aci"), Clock: clk, Environment: []string{"PATH=" + os.Getenv("PATH")}, Tenant: "11111111-1111-1111-1111-111111111111"}
	for _, f := range change {
		f(&cfg)
	}
	s.fake = aci.New(cfg)
	var err error
	if s.store, err = store.Open(store.Config{Path: filepath.Join(dir, "arm.db")}); err != nil {
		return nil, err
	}
	if s.arm, err = arm.New(arm.Config{Store: s.store, Clock: clk, Subscriptions: []arm.Subscription{{ID: strings.TrimPrefix(sub, "/subscriptions/")}}, Providers: []arm.Provider{s.fake.Provider()},
		Authenticate: func(*http.Request) error { return nil }}); err != nil {
		return nil, err
	}
	s.way = s.arm.Transport()
	if err := s.fake.Open(ctx); err != nil {
		return nil, err
	}
	if left := engine.AdopterOf(e); left != nil {
		if err := left.Sweep(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.arm.Open(ctx)
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
	s.sockets.Close()
	s.arm = nil
}

// do sends "METHOD path" and gives what came back.
func (s *service) do(line, body string) (int, http.Header, map[string]any) {
	s.Helper()
	a := armtest.Do(s, s.way, "2018-10-01", line, body)
	return a.Status, a.Header, a.Object()
}

// create puts a group and follows it to the end, which is given: Succeeded, or the error's code.
func (s *service) create(name, body string) string {
	s.Helper()
	code, header, answer := s.do("PUT "+groups+name+"?api-version=2019-12-01", body)
	if code != 201 && code != 200 {
		return at(answer, "error.code")
	}
	return s.follow(header.Get("Azure-AsyncOperation"))
}

func (s *service) follow(url string) (end string) {
	s.Helper()
	s.until("the operation ends", func() bool {
		_, _, doc := s.do("GET "+url, "")
		end = at(doc, "status")
		if end == "Failed" {
			end = at(doc, "error.code")
		}
		return end != "InProgress"
	})
	return end
}

// show is the value at a path of a group.
func (s *service) show(name, path string) string {
	s.Helper()
	_, _, doc := s.do("GET "+groups+name, "")
	return at(doc, path)
}

func (s *service) logs(name, container string, query ...string) string {
	s.Helper()
	code, _, doc := s.do("GET "+groups+name+"/containers/"+container+"/logs?"+strings.Join(query, "&"), "")
	if code != 200 {
		s.Errorf("logs: %d %v", code, doc)
	}
	content, _ := doc["content"].(string)
	return content
}

// until waits for what a real container brings about.
func (s *service) until(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			s.Fatalf("it never came about: %s", what)
		}
	}
}

const (
	view  = "properties.instanceView.state"
	first = "properties.containers.0.properties.instanceView."
)

// at is the value at a path, as text; empty if it isn't there.
func at(v any, path string) string {
	for _, step := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i := 0
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// events are a container's, each as "Name xCount".
func events(doc map[string]any) string {
	var out []string
	list, _ := dig(doc, "properties", "containers", 0, "properties", "instanceView", "events").([]any)
	for _, e := range list {
		out = append(out, at(e, "name")+" x"+at(e, "count"))
	}
	return strings.Join(out, ", ")
}

func dig(v any, path ...any) any {
	for _, step := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[step.(string)]
		case []any:
			if n := step.(int); n < len(x) {
				v = x[n]
			} else {
				return nil
			}
		}
	}
	return v
}

// sh is a container's command.
func sh(script string) string {
	b, _ := json.Marshal([]string{"/bin/sh", "-c", script})
	return string(b)
}

// one is a group of one container that runs a script.
func one(policy, script string, more ...string) string {
	return `{"location":"westus","properties":{"osType":"Linux","restartPolicy":"` + policy + `","containers":[` + item("main", script, more...) + `]}}`
}

func item(name, script string, more ...string) string {
	return `{"name":"` + name + `","properties":{"image":"lazulite/base","command":` + sh(script) + `,"resources":{"requests":{"cpu":0.5,"memoryInGB":0.5}}` + strings.Join(more, "") + `}}`
}

// victim is an emulator that is killed once its groups run.
func victim(dir, kind string) {
	ctx := context.Background()
	e, err := openEngine(ctx, kind, dir)
	if err == nil {
		_, err = start(ctx, e, dir)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// listen serves on a free port until the test ends, and gives its URL.
func listen(t *testing.T, handler http.Handler) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}
