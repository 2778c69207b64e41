package livy

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func shell(args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", watched, "sh"}, args...)...)
}

// When the one who holds its input is gone, as by kill -9, so is the command.
func TestWatchedEnds(t *testing.T) {
	cmd := shell("sh", "-c", "echo up; exec sleep 600")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 143 {
		t.Errorf("it ended with %v, not by SIGTERM", err)
	}
}

// Until then it is the command: its arguments, its output, its code.
func TestWatchedRuns(t *testing.T) {
	cmd := shell("sh", "-c", `echo "$1"; read x || echo no input; exit 7`, "sh", "a 'b' $c")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || strings.TrimSpace(string(out)) != "a 'b' $c\nno input" {
		t.Errorf("%q, %v", out, err)
	}
	_ = in.Close()
}
