package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lazulite.dev/emulator/engine/docker/guest"
)

// daemon is as much of Docker's as the filter asks for. It keeps what reaches it.
type daemon struct {
	mu         sync.Mutex
	got        []request
	containers map[string]container // by id, which is their name too
	gone       bool                 // nothing answers
}

type request struct {
	method, path, query, auth string
	body                      string
}

type container struct {
	labels map[string]string
	host   json.RawMessage
}

const (
	machine = "id-of-the-machine"
	prefix  = "vm1-in-"
	secret  = "cGFzc3dvcmQtb2YtYS1yZWdpc3RyeQ"
)

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1.41")
	ref, inspected := strings.CutSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
	if one, ok := d.containers[ref]; inspected && strings.HasPrefix(path, "/containers/") {
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": ref, "Name": "/" + ref, "Config": map[string]any{"Labels": one.labels}, "HostConfig": one.host})
		return
	}
	d.got = append(d.got, request{r.Method, path, r.URL.RawQuery, r.Header.Get("X-Registry-Auth"), string(body)})
	out := "{}"
	if path == "/containers/json" {
		out = "[]"
	}
	_, _ = io.WriteString(w, out)
}

// reached gives what has come to the daemon since the last time.
func (d *daemon) reached() []request {
	d.mu.Lock()
	defer d.mu.Unlock()
	got := d.got
	d.got = nil
	return got
}

type world struct {
	*testing.T
	daemon *daemon
	disk   string // of the machine, at /home; what is lent is beside it
	log    *bytes.Buffer
	client http.Client
	server *httptest.Server
}

func open(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, disk: filepath.Join(t.TempDir(), "disk"), log: &bytes.Buffer{}, daemon: &daemon{containers: map[string]container{
		prefix + "mine": {map[string]string{"within": "vm1"}, json.RawMessage(`{}`)},
		"theirs":        {map[string]string{"within": "vm2"}, json.RawMessage(`{}`)},
		"host's":        {},
	}}}
	for _, dir := range []string{w.disk + "/ada/files", w.disk + "/../lent"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(w.daemon)
	t.Cleanup(server.Close)
	w.server = server
	// A socket's path has little room.
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	g, err := guest.Open(guest.Config{
		Dial: func(ctx context.Context) (net.Conn, error) {
			w.daemon.mu.Lock()
			defer w.daemon.mu.Unlock()
			if w.daemon.gone {
				return nil, errors.New("refused")
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
		Socket: socket, Machine: machine, Hostname: "vm1", Prefix: prefix, Owner: [2]string{"within", "vm1"}, Labels: map[string]string{"instance": "i", "machine": ""},
		Mounts: []guest.Mount{{Source: w.disk, Target: "/home"}, {Source: filepath.Clean(w.disk + "/../lent"), Target: "/lent", ReadOnly: true}},
		Memory: 1 << 30, NanoCPUs: 1e9, GPUs: []string{"GPU-a", "GPU-b"}, Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	w.client.Transport = transport
	return w
}

// call is a request to the machine's Docker: "METHOD /path".
func (w *world) call(line, body string) (int, string) {
	w.Helper()
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(w.Context(), method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("X-Registry-Auth", secret)
	resp, err := w.client.Do(r)
	if err != nil {
		w.Fatal(line, err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(line, err)
	}
	return resp.StatusCode, string(out)
}

// What reaches the daemon is what is known to be harmless, with the machine's own labels and names.
func TestRoutes(t *testing.T) {
	w := open(t)
	for _, c := range []struct {
		line, body, sent string // METHOD /path?query of what comes to the daemon
	}{
		{"GET /_ping", "", "GET /_ping?"},
		{"GET /v1.41/version", "", "GET /version?"},
		{"GET /containers/json?all=1", "", `GET /containers/json?all=1&filters=%7B%22label%22%3A%7B%22within%3Dvm1%22%3Atrue%7D%7D`},
		{"GET /containers/json?filters=%7B%22label%22%3A%5B%22within%3Dvm2%22%5D%7D", "", `GET /containers/json?filters=%7B%22label%22%3A%5B%22within%3Dvm2%22%2C%22within%3Dvm1%22%5D%7D`},
		{"GET /containers/mine/logs?stdout=1", "", "GET /containers/" + prefix + "mine/logs?stdout=1"},
		{"POST /containers/mine/stop", "", "POST /containers/" + prefix + "mine/stop?"},
		{"DELETE /containers/mine", "", "DELETE /containers/" + prefix + "mine?"},
		{"POST /containers/prune", "", `POST /containers/prune?filters=%7B%22label%22%3A%7B%22within%3Dvm1%22%3Atrue%7D%7D`},
		{"POST /images/create?fromImage=busybox", "", "POST /images/create?fromImage=busybox"},
		{"POST /containers/create?name=web", `{"Image":"i"}`, "POST /containers/create?name=" + prefix + "web"},
		{"DELETE /volumes/data", "", "DELETE /volumes/" + prefix + "data?"},
	} {
		status, out := w.call(c.line, c.body)
		if got := w.daemon.reached(); status != 200 || len(got) != 1 || got[0].method+" "+got[0].path+"?"+got[0].query != c.sent || got[0].auth != secret {
			t.Errorf("%s: %d %s; the daemon got %+v", c.line, status, out, got)
		}
	}
	for _, c := range []struct {
		line, body string
		status     int
		text       string
	}{
		{"GET /containers/theirs/json", "", 404, "No such container: theirs"},
		{"POST /containers/theirs/stop", "", 404, "No such container: theirs"},
		{"DELETE /containers/host's", "", 404, "No such container"},
		{"POST /containers/theirs/exec", "{}", 404, "No such container: theirs"},
		{"POST /containers/mine/exec", `{"privileged":true}`, 403, "privileged commands"},
		{"POST /containers/mine/checkpoints", "", 403, "not offered"},
		{"GET /containers/mine/stop", "", 403, "not offered"},
		{"POST /commit?container=theirs&repo=r", "", 404, "No such container"},
		{"POST /networks/create", "{}", 403, "share the machine's own"},
		{"POST /networks/n/connect", `{"Container":"theirs"}`, 403, "share the machine's own"},
		{"GET /networks/other", "", 404, "network other not found"},
		{"POST /volumes/create", `{"Name":"x","DriverOpts":{"type":"none","o":"bind","device":"/"}}`, 403, "volume drivers"},
		{"POST /swarm/init", "{}", 503, "swarm"},
		{"POST /plugins/pull?remote=x", "", 403, "not offered"},
		{"POST /session", "", 404, "page not found"},
		{"POST /build?version=2", "", 400, "BuildKit"},
		{"POST /build?networkmode=container:theirs", "", 404, "network"},
		{"POST /build?cgroupparent=/x", "", 403, "CgroupParent"},
		{"GET /images/..%2fcontainers/json", "", 404, "page not found"},
		{"POST /nonsense", "", 403, "not offered"},
	} {
		status, out := w.call(c.line, c.body)
		if got := w.daemon.reached(); status != c.status || !strings.Contains(out, c.text) || len(got) != 0 {
			t.Errorf("%s %s: %d %s, want %d %s; the daemon got %+v", c.line, c.body, status, out, c.status, c.text, got)
		}
	}
}

// A container stays within its machine.
func TestCreate(t *testing.T) {
	w := open(t)
	if err := errors.Join(os.Symlink("/", w.disk+"/ada/out"), os.Symlink("/home/ada/files", w.disk+"/ada/in"), os.Symlink("loop", w.disk+"/ada/loop"), os.Symlink("../../etc", w.disk+"/ada/up")); err != nil {
		t.Fatal(err)
	}
	files := w.disk + "/ada/files"
	for _, c := range []struct{ host, sent string }{
		{`{}`, `{"Memory":1073741824,"MemorySwap":1073741824,"NanoCpus":1000000000,"NetworkMode":"container:` + machine + `"}`},
		{`{"NetworkMode":"host"}`, `"NetworkMode":"container:` + machine + `"`},
		{`{"NetworkMode":"none"}`, `"NetworkMode":"none"`},
		{`{"NetworkMode":"container:mine"}`, `"NetworkMode":"container:` + machine + `"`},
		{`{"PidMode":"host"}`, `"PidMode":"container:` + machine + `"`},
		{`{"Binds":["/home/ada/files:/w"]}`, `"Binds":["` + files + `:/w"]`},
		{`{"Binds":["/home/ada/in:/w:ro"]}`, `"Binds":["` + files + `:/w:ro"]`},
		{`{"Binds":["/lent:/w"]}`, filepath.Clean(w.disk+"/../lent") + `:/w:ro"]`},
		{`{"Binds":["data:/w"]}`, `"Binds":["` + prefix + `data:/w"]`},
		{`{"Mounts":[{"type":"bind","SOURCE":"/home/ada","Target":"/w"}]}`, `"Source":"` + w.disk + `/ada"`},
		{`{"VolumesFrom":["mine:ro"]}`, `"VolumesFrom":["` + prefix + `mine:ro"]`},
		{`{"Memory":9999999999}`, `"Memory":1073741824`},
		{`{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}`, `"DeviceIDs":["GPU-a"]`},
		{`{"CapAdd":["NET_RAW"],"Devices":[],"Privileged":false}`, `"CapAdd":["NET_RAW"]`},
	} {
		status, out := w.call("POST /v1.41/containers/create", `{"Image":"i","Labels":{"within":"vm2","machine":"true","own":"x"},"HostConfig":`+c.host+`}`)
		got := w.daemon.reached()
		if status != 200 || len(got) != 1 || !strings.Contains(got[0].body, c.sent) {
			t.Errorf("%s: %d %s; the daemon got %+v, want %s", c.host, status, out, got, c.sent)
		} else if !strings.Contains(got[0].body, `"Labels":{"instance":"i","own":"x","within":"vm1"}`) {
			t.Errorf("%s: the labels are others: %s", c.host, got[0].body)
		}
	}
	for _, c := range []struct {
		host   string
		status int
		text   string
	}{
		{`{"Privileged":true}`, 403, "HostConfig.Privileged"},
		{`{"privileged":true}`, 403, "HostConfig.Privileged"},
		{`{"Privileged":false,"privileged":true}`, 400, "is there twice"},
		{`{"Devices":[{"PathOnHost":"/dev/sda"}]}`, 403, "HostConfig.Devices"},
		{`{"CapAdd":["SYS_ADMIN"]}`, 403, "CapAdd SYS_ADMIN"},
		{`{"CapAdd":["ALL"]}`, 403, "CapAdd ALL"},
		{`{"SecurityOpt":["seccomp=unconfined"]}`, 403, "SecurityOpt"},
		{`{"MaskedPaths":[]}`, 403, "MaskedPaths"},
		{`{"UsernsMode":"host"}`, 403, "UsernsMode"},
		{`{"UTSMode":"host"}`, 403, "UTSMode"},
		{`{"CgroupnsMode":"host"}`, 403, "CgroupnsMode"},
		{`{"CgroupParent":"/"}`, 403, "CgroupParent"},
		{`{"Sysctls":{"net.ipv4.ip_forward":"1"}}`, 403, "Sysctls"},
		{`{"NewerThanThis":1}`, 403, "NewerThanThis"},
		{`{"LogConfig":{"Type":"syslog"}}`, 403, "LogConfig"},
		{`{"Runtime":"other"}`, 400, "Unknown runtime"},
		{`{"NetworkMode":"container:theirs"}`, 409, "No such container: theirs"},
		{`{"PidMode":"container:theirs"}`, 409, "No such container: theirs"},
		{`{"IpcMode":"container:theirs"}`, 409, "No such container: theirs"},
		{`{"NetworkMode":"other"}`, 409, "network other not found"},
		{`{"VolumesFrom":["theirs"]}`, 409, "No such container: theirs"},
		{`{"Binds":["/:/w"]}`, 403, "can't be shared"},
		{`{"Binds":["/etc:/w"]}`, 403, "can't be shared"},
		{`{"Binds":["/home/../etc:/w"]}`, 403, "can't be shared"},
		{`{"Binds":["/homes:/w"]}`, 403, "can't be shared"},
		{`{"Binds":["/home/ada/out/etc:/w"]}`, 403, "/etc can't be shared"},
		{`{"Binds":["/home/ada/up:/w"]}`, 403, "/etc can't be shared"},
		{`{"Binds":["/home/ada/loop:/w"]}`, 400, "too many levels"},
		{`{"Binds":["/home/ada:/w:rshared"]}`, 403, "rshared"},
		{`{"Mounts":[{"Type":"bind","Source":"/var/lib","Target":"/w"}]}`, 403, "can't be shared"},
		{`{"Mounts":[{"Type":"bind","Source":"/home","Target":"/w","BindOptions":{"Propagation":"rshared"}}]}`, 403, "Propagation"},
		{`{"Mounts":[{"Type":"volume","Target":"/w","VolumeOptions":{"DriverConfig":{"Options":{"device":"/"}}}}]}`, 403, "DriverConfig"},
		{`{"Mounts":[{"Type":"npipe","Source":"/x","Target":"/w"}]}`, 403, "Mounts.Type"},
		{`{"NanoCpus":2000000000}`, 400, "Range of CPUs"},
		{`{"DeviceRequests":[{"DeviceIDs":["GPU-c"]}]}`, 400, "unknown device"},
		{`{"DeviceRequests":[{"Count":3}]}`, 400, "this machine has 2"},
	} {
		status, out := w.call("POST /containers/create", `{"Image":"i","HostConfig":`+c.host+`}`)
		if got := w.daemon.reached(); status != c.status || !strings.Contains(out, c.text) || len(got) != 0 {
			t.Errorf("%s: %d %s, want %d %s; the daemon got %+v", c.host, status, out, c.status, c.text, got)
		}
	}
}

// The daemon looks at a path anew at each start: a link that was put there since must not be followed.
func TestLinkPutInPlace(t *testing.T) {
	w := open(t)
	for name, host := range map[string]string{"bind": `{"Binds":["` + w.disk + `/ada/files:/w"]}`, "mount": `{"Mounts":[{"Type":"bind","Source":"` + w.disk + `/ada/files","Target":"/w"}]}`} {
		w.daemon.containers[prefix+name] = container{map[string]string{"within": "vm1"}, json.RawMessage(host)}
	}
	lines := []string{"POST /containers/bind/start", "POST /containers/bind/restart", "POST /containers/mount/start", "POST /containers/mount/restart"}
	for _, line := range lines {
		if status, out := w.call(line, ""); status != 200 || len(w.daemon.reached()) != 1 {
			t.Errorf("%s: %d %s", line, status, out)
		}
	}
	for name, swap := range map[string]func() error{
		"its end": func() error {
			return errors.Join(os.Remove(w.disk+"/ada/files"), os.Symlink("/etc", w.disk+"/ada/files"))
		},
		"a folder on the way": func() error {
			return errors.Join(os.RemoveAll(w.disk+"/ada"), os.Symlink("/var", w.disk+"/ada"))
		},
	} {
		if err := swap(); err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if status, out := w.call(line, ""); status != 403 || !strings.Contains(out, "is another since it was made") || len(w.daemon.reached()) != 0 {
				t.Errorf("%s is a link, %s: %d %s", name, line, status, out)
			}
		}
		if err := errors.Join(os.RemoveAll(w.disk+"/ada"), os.MkdirAll(w.disk+"/ada/files", 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}

// Credentials of registries reach the daemon and no log, whatever fails.
func TestCredentialsAreNotLogged(t *testing.T) {
	w := open(t)
	login := `{"username":"u","password":"` + secret + `","serveraddress":"r.example"}`
	calls := map[string]string{"POST /auth": login, "POST /images/create?fromImage=r.example/a": "", "POST /images/r.example/a/push": "", "POST /build?buildargs=%7B%22T%22%3A%22" + secret + "%22%7D": ""}
	for line, body := range calls {
		if status, out := w.call(line, body); status != 200 {
			t.Errorf("%s: %d %s", line, status, out)
		}
	}
	var seen string
	for _, r := range w.daemon.reached() {
		seen += r.auth + r.body + r.query
	}
	if n := strings.Count(seen, secret); n != len(calls)+2 {
		t.Errorf("the daemon was told %d times: %s", n, seen)
	}
	w.daemon.mu.Lock()
	w.daemon.gone = true
	w.daemon.mu.Unlock()
	w.server.CloseClientConnections()
	for line, body := range calls {
		if status, out := w.call("POST /v1.41"+strings.TrimPrefix(line, "POST "), body); status != 502 || strings.Contains(out, secret) {
			t.Errorf("%s without a daemon: %d %s", line, status, out)
		}
	}
	if strings.Contains(w.log.String(), secret) {
		t.Errorf("a secret is in the log: %s", w.log)
	}
}
