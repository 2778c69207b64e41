package dsvm_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/fakes/dsvm"
)

// bench stands in for testing.TB in a process that is no test.
type bench struct {
	testing.TB
	ctx context.Context
}

func (b bench) Helper()                      {}
func (b bench) Cleanup(func())               {}
func (b bench) Context() context.Context     { return b.ctx }
func (b bench) Errorf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (b bench) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (b bench) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }

// victim is an emulator with a running and a stopped VM that is going to be killed.
func victim(dir string) {
	w := newWorld(bench{ctx: context.Background()}, dir, nil)
	off := compute + "off"
	for _, name := range []string{"on", "off"} {
		w.must(compute+name, vmBody("Standard_DS1_v2", w.nets(name), withPassword))
		w.settle()
	}
	if err := w.act(off, "powerOff"); err != nil {
		panic(err)
	}
	w.settle()
	fmt.Println(w.endpoint("on"), w.endpoint("off"))
	select {}
}

// startVictim starts this program as one of TestMain's victims, and returns the
// endpoints that it tells, and what kills it.
func startVictim(t *testing.T, variable, dir string, machines int) (endpoints []string, kill func()) {
	t.Helper()
	v := exec.Command(os.Args[0])
	v.Env, v.Stderr = append(os.Environ(), variable+"="+dir), os.Stderr
	pipe, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	endpoints = strings.Fields(line)
	if err != nil || len(endpoints) != machines {
		t.Fatalf("%q, %v", line, err)
	}
	return endpoints, func() {
		t.Helper()
		if err := v.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = v.Wait()
	}
}

func sleepers(length string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && bytes.HasSuffix(data, []byte("sleep\x00"+length+"\x00")) {
			n++
		}
	}
	return n
}

func TestKilledEmulator(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("counting processes needs /proc")
	}
	dir := t.TempDir()
	ends, kill := startVictim(t, "DSVM_TEST_VICTIM", dir, 2)
	on, off := ends[0], ends[1]
	c, hostKey, err := dial(on)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	length := fmt.Sprintf("%d.5", 3600+os.Getpid())
	if out, err := s.CombinedOutput("echo kept > file; nohup setsid sleep " + length + " >/dev/null 2>&1 & sleep " + length + " >/dev/null 2>&1 & env -i $(command -v sleep) " + length + " >/dev/null 2>&1 &"); err != nil {
		t.Fatal(string(out), err)
	}
	kill()
	c.Close()
	if sleepers(length) == 0 {
		t.Fatal("there are no orphans to be swept")
	}
	p, err := engine.NewProcess(engine.Config{Dir: dir + "/engine"})
	if err != nil {
		t.Fatal(err)
	}
	if n := sleepers(length); n != 0 {
		t.Errorf("%d orphans are left", n)
	}
	f := dsvm.New(dsvm.Config{Engine: p, Dir: dir})
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c, again, err := dial(on)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !bytes.Equal(again.Marshal(), hostKey.Marshal()) {
		t.Error("the host key is another")
	}
	if s, err = c.NewSession(); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Output("cat file"); err != nil || string(out) != "kept\n" {
		t.Errorf("home: %q, %v", out, err)
	}
	if c, _, err := dial(off); err == nil {
		c.Close()
		t.Error("the VM that was off is on")
	}
}

// A clean end and a new start of the fake: what ran runs, and the account of hardware is right.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir, nil)
	w.create("vm1")
	endpoint := w.endpoint("vm1")
	if err := w.fake.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, _, err := w.dial(endpoint); err == nil {
		c.Close()
		t.Error("after Close it takes logins")
	}
	if got := w.power(compute + "vm1"); got == "running" {
		t.Error("after Close it is said to run")
	}
	if err := w.fake.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.power(compute+"vm1") != "running" || w.ssh("vm1", "echo back") != "back" || w.endpoint("vm1") != endpoint {
		t.Error("it is not back")
	}
}

// A start that is cut off between two steps goes on where it stood.
func TestCutOffAnywhere(t *testing.T) {
	for cut := range 12 {
		dir := t.TempDir()
		w := newWorld(t, dir, func(c *dsvm.Config) { c.Lifecycle = "real" })
		if err := w.put(compute+"vm1", "2024-03-01", vmBody("Standard_DS1_v2", w.nets("vm1"), withKey(w.line))); err != nil {
			t.Fatal(err)
		}
		for range cut {
			w.step()
		}
		// The store keeps what it was given; all else is made anew.
		w.close()
		next := newWorld(t, dir, nil)
		next.signer, next.resources, next.queue = w.signer, w.resources, append(w.queue, key(compute+"vm1"))
		for id := range w.due {
			next.queue = append(next.queue, id)
		}
		next.settle()
		if got := next.power(compute + "vm1"); got != "running" || next.ssh("vm1", "echo there") != "there" {
			t.Errorf("cut off after %d steps: %s, %v", cut, got, next.errs)
		}
		next.delete(compute + "vm1")
		next.settle()
		if left, _ := filepath.Glob(filepath.Join(dir, "vms", "*")); len(left) != 0 {
			t.Errorf("cut off after %d steps: %v are left", cut, left)
		}
	}
}

// Whatever is asked for in whatever order, what is shown is what is so.
func TestPowerIsHonest(t *testing.T) {
	w := newWorld(t, t.TempDir(), nil)
	vm := w.create("vm1")
	endpoint := w.endpoint("vm1")
	dice := rand.New(rand.NewPCG(7, 7))
	actions := []string{"start", "powerOff", "deallocate", "restart"}
	for range 40 {
		for range 1 + dice.IntN(3) {
			_ = w.act(vm, actions[dice.IntN(len(actions))]) // some are refused by the state
			for range dice.IntN(4) {
				w.step()
			}
		}
		if dice.IntN(2) == 0 {
			w.settle()
		}
		c, _, err := w.dial(endpoint)
		if err == nil {
			c.Close()
		}
		shown := w.power(vm)
		if (err == nil) != (shown == "running" || shown == "stopping" || shown == "deallocating") {
			t.Fatalf("shown as %s, a login gives %v", shown, err)
		}
	}
}

func TestFiftyAtOnce(t *testing.T) { fiftyAtOnce(t, newWorld(t, t.TempDir(), nil)) }

func fiftyAtOnce(t *testing.T, w *world) {
	began := time.Now()
	var names []string
	for i := range 50 {
		name := fmt.Sprintf("vm%d", i)
		names = append(names, name)
		if err := w.put(compute+name, "2024-03-01", vmBody("Standard_DS1_v2", w.nets(name), withKey(w.line))); err != nil {
			t.Fatal(err)
		}
	}
	all := func(do func(name string)) {
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() { do(name) })
		}
		wg.Wait()
	}
	// As ARM's queue: one goroutine for each resource, all at once.
	w.mu.Lock()
	w.queue = nil
	w.mu.Unlock()
	all(func(name string) { w.reconcile(key(compute + name)) })
	w.settle()
	t.Logf("50 machines were up after %v", time.Since(began))
	var mu sync.Mutex
	seen := map[string]bool{}
	all(func(name string) {
		endpoint := w.endpoint(name)
		mu.Lock()
		if seen[endpoint] || endpoint == "" {
			t.Errorf("%s: address %q is had by another", name, endpoint)
		}
		seen[endpoint] = true
		mu.Unlock()
		if got := w.ssh(name, "echo "+name+" > me; cat me"); got != name {
			t.Errorf("%s answers %q", name, got)
		}
	})
	for _, name := range names {
		w.delete(compute + name)
	}
	w.mu.Lock()
	w.queue = nil
	w.mu.Unlock()
	all(func(name string) { w.reconcile(key(compute + name)) })
	for _, name := range names {
		w.queue = append(w.queue, key(compute+name))
	}
	w.settle()
	for _, name := range names {
		if w.show(compute+name) != nil {
			t.Errorf("%s is left", name)
		}
	}
}
