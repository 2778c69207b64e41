package emulator_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

// ours are the stacks of goroutines that run code of ours, but for this test's own.
func ours() []string {
	buf := make([]byte, 8<<20)
	var out []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "lazulite.dev/") && !strings.Contains(g, "emulator_test.ours") && !strings.Contains(g, "testing.(*T).Run") {
			out = append(out, g)
		}
	}
	return out
}

// Ensure that Close leaves nothing: no goroutine, no listener, no process, no
// temporary folder, whatever was under way, and that a second Close does nothing.
func TestCloseLeavesNothing(t *testing.T) {
	needPython(t)
	t.Setenv("TMPDIR", t.TempDir())
	for _, g := range ours() {
		t.Fatalf("before it began:\n%s", g)
	}
	e, err := emulator.New(emulator.Config{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(ours()) == 0 {
		t.Fatal("an open emulator has no goroutine: they are not seen")
	}
	c := &client{t: t, http: e.Transport(), id: e.Identity()}
	if err := c.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := e.Status().Dir
	c.workspace()
	c.put("{WS}/computes/target", vmBody)
	id := c.started("target", project(t), "--count", "1000", "--pause", "0.1")
	clocktest.Missing(t, time.Minute, func() string {
		if a := c.do("GET "+runURL(id), nil); a.text("status") != "Running" {
			return a.String()
		}
		return ""
	})
	c.must(201, "PUT {WS}/computes/coming", vmBody)
	machine := c.do("GET {WS}/computes/target", nil)
	address := net.JoinHostPort(machine.text("properties.properties.address"), fmt.Sprint(machine.get("properties.properties.sshPort")))
	// A client that holds its connection, and one that has said nothing.
	idle, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if len(processesOf(dir)) == 0 {
		t.Fatal("the run has no process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := e.Close(ctx); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	for _, p := range processesOf(dir) {
		t.Errorf("process %d is left: %s", p.pid, p.command)
	}
	for _, addr := range []string{e.Addr(), address} {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			t.Errorf("somebody still listens at %s", addr)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary folder: %v %v", left, err)
	}
	// What has been told to end may need an instant to be gone.
	clocktest.Missing(t, 5*time.Second, func() string { return strings.Join(ours(), "\n\n") })
}

// Ensure that an emulator that was never opened, or whose Open failed, closes as cleanly.
func TestCloseWithoutOpen(t *testing.T) {
	e, err := emulator.New(emulator.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, e)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if e, err = emulator.New(emulator.Config{Dir: t.TempDir(), Listen: taken.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if err := e.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Open on a taken port: %v", err)
	}
	shut(t, e)
	clocktest.Missing(t, 5*time.Second, func() string { return strings.Join(ours(), "\n\n") })
}
