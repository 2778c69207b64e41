package enginetest

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"lazulite.dev/emulator/engine"
)

// Terminal is the contract of Exec with a TTY, for the machines of engines that
// have pseudo terminals: its name, size, resizing and line discipline.
func Terminal(t *testing.T, machine engine.Execer) {
	resize := make(chan [2]uint16)
	in, typed := io.Pipe()
	out, screen := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer screen.Close()
		x, err := machine.Exec(t.Context(), engine.Exec{
			Command: []string{"/bin/sh", "-c", `tty; echo "$TERM"; stty size; trap 'stty size' WINCH; echo ready; while :; do read -r line || continue; echo "got $line"; [ "$line" = end ] && exit 9; done`},
			Stdin:   in, Stdout: screen, TTY: &engine.TTY{Term: "xterm", Rows: 33, Cols: 101, Resize: resize},
		})
		if err != nil || x.Code != 9 {
			t.Errorf("%+v, %v", x, err)
		}
	}()
	var seen bytes.Buffer
	until := func(text string) {
		t.Helper()
		b := make([]byte, 256)
		for !strings.Contains(seen.String(), text) {
			n, err := out.Read(b)
			seen.Write(b[:n])
			if err != nil {
				t.Fatalf("%q never came: %q", text, seen.String())
			}
		}
	}
	until("ready\r\n")
	if s := seen.String(); !strings.HasPrefix(s, "/dev/") || !strings.Contains(s, "xterm\r\n33 101\r\n") {
		t.Errorf("at the start: %q", s)
	}
	resize <- [2]uint16{50, 140}
	_, _ = io.WriteString(typed, "\n")
	until("50 140\r\n")
	_, _ = io.WriteString(typed, "end\n")
	until("got end\r\n")
	_, _ = io.Copy(io.Discard, out)
	typed.Close()
	<-done
}
