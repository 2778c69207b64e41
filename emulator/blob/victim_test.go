package blob_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// victim is this test binary as a service of its own, to be killed.
type victim struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	// url and key of the account's service; rest is what else the child said of where things are.
	url, key string
	rest     []string
}

// startVictim runs the test named child with the variable set to dir, and waits
// until it prints "serving URL KEY ...". It ends with the one who started it.
func startVictim(t *testing.T, child, variable, dir string) *victim {
	t.Helper()
	v := &victim{t: t, cmd: exec.Command(os.Args[0], "-test.run=^"+child+"$")}
	v.cmd.Env = append(os.Environ(), variable+"="+dir)
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 2 && words[0] == "serving" {
			v.url, v.key, v.rest = words[1], words[2], words[3:]
			return v
		}
	}
	t.Fatal("the child did not serve")
	return nil
}

// killAfter ends the process as kill -9 does, after a while.
func (v *victim) killAfter(life time.Duration) {
	time.AfterFunc(life, func() { _ = v.cmd.Process.Kill() })
}

// wait is for the end of the process.
func (v *victim) wait() {
	_ = v.cmd.Wait()
	_ = v.in.Close()
}

// send signs a request to the account's service ("blob" or "file"). Without an answer, because it is dead, the status is 0.
func (v *victim) send(service, version, method, path string, body []byte, h http.Header) (status int, answer string) {
	r, err := http.NewRequest(method, v.url+path, bytes.NewReader(body))
	if err != nil {
		v.t.Error(err)
		return 0, ""
	}
	for name, values := range h {
		r.Header[name] = values
	}
	r.Host = acct + "." + service + ".core.windows.net"
	r.Header.Set("x-ms-version", version)
	signShared(r, acct, v.key, int64(len(body)), time.Now())
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, ""
	}
	return res.StatusCode, string(b)
}
