package clients_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSDK2018KilledSpark kills the emulator in the middle of runs on a cluster of HDInsight.
func TestSDK2018KilledSpark(t *testing.T) { killed(t, "sdk2018_killed.py", sparkFolder(t)) }

// TestSDK2018KilledBatchAI kills it while the SDK waits for runs on Batch AI: one whose
// script is at work, and one that is queued behind it.
func TestSDK2018KilledBatchAI(t *testing.T) { killed(t, "sdk2018_killedbatchai.py", "") }

// killed runs a script, kills the emulator with kill -9 when the script says
// "running", and starts it again on the same folder and port.
func killed(t *testing.T, script, spark string) {
	bin := sdk2018.bin(t)
	if testing.Short() {
		t.Skip("it kills processes")
	}
	t.Parallel()
	m := &mortal{t: t, binary: filepath.Join(t.TempDir(), "lazulite"), data: t.TempDir(), listen: freePort(t), spark: spark}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", m.binary, "../cmd/lazulite").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.live()
	t.Cleanup(m.end)
	script, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "python"), script)
	cmd.Dir, cmd.Env = t.TempDir(), append(m.environ(), "HOME="+t.TempDir(), "TMPDIR="+t.TempDir(), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(20*time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewScanner(out)
	last := ""
	for lines.Scan() {
		last = lines.Text()
		t.Log(last)
		if last == "running" {
			m.kill()
			m.live()
			if _, err := io.WriteString(in, "again\n"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || last != "ok" {
		t.Fatalf("%v\n%s", err, tail(said.Bytes(), 12000))
	}
}

// mortal is an emulator in a process of its own.
type mortal struct {
	t                           *testing.T
	binary, data, listen, spark string
	cmd                         *exec.Cmd
	log                         bytes.Buffer
}

// live starts it, and returns when it answers.
func (m *mortal) live() {
	m.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd = exec.Command(m.binary, "up", "--data", m.data, "--listen", m.listen, "--engine", "process", "--ready-fd", "3")
	m.cmd.Env = append(os.Environ(), "LAZULITE_SPARK="+m.spark)
	m.cmd.ExtraFiles, m.cmd.Stderr = []*os.File{w}, &m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	_ = w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	_ = r.Close()
	if err != nil || !strings.HasPrefix(line, "ready ") {
		m.t.Fatalf("the emulator does not start: %q %v\n%s", line, err, tail(m.log.Bytes(), 4000))
	}
}

// kill is kill -9.
func (m *mortal) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

func (m *mortal) end() {
	_ = m.cmd.Process.Signal(os.Interrupt)
	_ = m.cmd.Wait()
	if m.t.Failed() {
		m.t.Logf("the emulator's log:\n%s", tail(m.log.Bytes(), 4000))
	}
}

// environ is what its clients are given.
func (m *mortal) environ() []string {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), m.binary, "env", "--data", m.data, "-o", "json").Output()
	if err != nil {
		m.t.Fatal(err)
	}
	var values map[string]string
	if err := json.Unmarshal(out, &values); err != nil {
		m.t.Fatal(err)
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return append(env, hostEnv()...)
}

// freePort is an address that no outgoing connection can be given while the emulator is down.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := "127.0.0.1:" + strconv.Itoa(15000+rand.IntN(15000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
