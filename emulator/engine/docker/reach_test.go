package docker_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// Containers of every network reach the host's loopback, others don't.
func TestReach(t *testing.T) {
	e := open(t, docker.Config{})
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the host") }))
	defer host.Close()
	addr, err := e.Reach(t.Context(), host.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(host.Listener.Addr().String())
	if _, p, _ := net.SplitHostPort(addr); p != port {
		t.Errorf("%s is not at port %s, which was free", addr, port)
	}
	for name, networks := range map[string][]engine.Network{
		"bridge": nil,
		"own":    {{Name: "cluster"}, {Name: "second"}},
		"host":   {{Name: engine.HostNetwork}},
	} {
		c := start(t, e, engine.Spec{Name: name, Networks: networks})
		if out, errs, _, err := run(t, c, engine.Exec{Command: []string{"curl", "-sS", "http://" + addr}}); err != nil || out != "the host" {
			t.Errorf("from the network %s: %q, %q, %v", name, out, errs, err)
		}
	}

	for ip, want := range map[string]bool{"203.0.113.9": false, "127.0.0.1": true} {
		if got := e.Admits(&net.TCPAddr{IP: net.ParseIP(ip), Port: 4000}); got != want {
			t.Errorf("%s let in: %t", ip, got)
		}
	}

	// The same port again after a restart; another where it is taken.
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := open(t, docker.Config{}).Reach(t.Context(), host.Listener.Addr().String()); err != nil || again != addr {
		t.Errorf("after a restart: %s, %v; it was %s", again, err, addr)
	}
	other, err := open(t, docker.Config{InstanceID: testInstance + "-other"}).Reach(t.Context(), host.Listener.Addr().String())
	if err != nil || other == addr {
		t.Errorf("where it is taken: %s, %v", other, err)
	}
}
