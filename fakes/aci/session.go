package aci

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"lazulite.dev/emulator/engine"
)

const (
	// passwordLimit is how long the first frame may take.
	passwordLimit = 30 * time.Second
	frameLimit    = 1 << 20
)

// channels is Kubernetes' subprotocol, in which the first byte of a frame names
// its channel. A client that asks for it can change the size of its terminal,
// for which the service's plain frames have no word.
const channels = "v4.channel.k8s.io"

const (
	channelInput  = 0
	channelOutput = 1
	channelResize = 4
)

// ServeHTTP answers the websockets that exec and attach have promised: the
// first frame is the password, all others are what is typed, one character each
// or many; what the terminal shows comes as text.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := f.promised(r.URL.Path)
	if s == nil {
		http.Error(w, `{"error":{"code":"NotFound","message":"The session is not found, or its time is over."}}`, http.StatusNotFound)
		return
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	f.attended.Add(1)
	f.mu.Unlock()
	defer f.attended.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{channels}})
	if err != nil {
		return // it has been answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(frameLimit)
	ctx, cancel := context.WithCancel(f.life)
	defer cancel()
	if !s.admits(ctx, conn) {
		_ = conn.Close(websocket.StatusPolicyViolation, "Unauthorized: the password is wrong.")
		return
	}
	if !f.spend(r.URL.Path, s) {
		_ = conn.Close(websocket.StatusPolicyViolation, "The session has been used.")
		return
	}
	s.serve(ctx, conn)
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// promised finds a session by its path: /exec/caas-{id}/...
func (f *Fake) promised(path string) *session {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[sessionID(path)]
	if s == nil || f.cfg.Clock.Now().After(s.until) {
		return nil
	}
	return s
}

func sessionID(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 2 || parts[0] != "exec" && parts[0] != "attach" {
		return ""
	}
	return strings.TrimPrefix(parts[1], "caas-")
}

// spend makes a session one that nobody else can have.
func (f *Fake) spend(path string, s *session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := sessionID(path)
	if f.sessions[id] != s {
		return false
	}
	delete(f.sessions, id)
	return true
}

func (s *session) admits(ctx context.Context, conn *websocket.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, passwordLimit)
	defer cancel()
	_, said, err := conn.Read(ctx)
	return err == nil && subtle.ConstantTimeCompare(said, []byte(s.password)) == 1
}

// serve runs the session to its end, or the client's.
func (s *session) serve(ctx context.Context, conn *websocket.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	typed, keys := io.Pipe()
	s.resized = make(chan [2]uint16)
	framed := conn.Subprotocol() == channels
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer cancel() // a client that has gone ends the command
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				_ = keys.CloseWithError(io.EOF)
				return
			}
			if framed {
				if frame = s.channel(ctx, frame); frame == nil {
					continue
				}
			}
			if _, err := keys.Write(frame); err != nil && ctx.Err() != nil {
				return
			}
		}
	}()
	screen := &screen{ctx: ctx, conn: conn, framed: framed}
	if s.command == "" {
		go func() { _, _ = io.Copy(io.Discard, typed) }()
		_ = s.container.Logs(ctx, screen, true)
	} else {
		s.run(ctx, typed, screen)
	}
	screen.flush()
	_ = typed.Close()
	_ = conn.Close(websocket.StatusNormalClosure, "")
	cancel()
	<-reading
}

// channel takes a frame of the subprotocol: what was typed, or nil.
func (s *session) channel(ctx context.Context, frame []byte) []byte {
	if len(frame) == 0 {
		return nil
	}
	switch frame[0] {
	case channelInput:
		return frame[1:]
	case channelResize:
		var size struct{ Width, Height uint16 }
		if json.Unmarshal(frame[1:], &size) == nil && size.Width > 0 && size.Height > 0 {
			select {
			case s.resized <- [2]uint16{size.Height, size.Width}:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// run is the command, on a terminal of the size that was asked for.
func (s *session) run(ctx context.Context, typed io.Reader, out io.Writer) {
	tty := &engine.TTY{Term: "xterm", Rows: s.rows, Cols: s.cols, Resize: s.resized}
	// The service starts one program, by its name alone.
	_, err := s.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{s.command}, Env: []string{"TERM=xterm"}, Stdin: typed, Stdout: out, TTY: tty})
	if errors.Is(err, engine.ErrNotFound) {
		_, _ = io.WriteString(out, "rpc error: code = 2 desc = oci runtime error: exec failed: container_linux.go:247: starting container process caused \"exec: \\\""+s.command+"\\\": executable file not found in $PATH\"\r\n")
	}
}

// screen sends what a terminal shows as text, no character in two frames.
type screen struct {
	ctx    context.Context
	conn   *websocket.Conn
	framed bool
	rest   []byte // the beginning of a character
}

func (s *screen) Write(p []byte) (int, error) {
	if s.framed {
		return len(p), s.conn.Write(s.ctx, websocket.MessageBinary, append([]byte{channelOutput}, p...))
	}
	data := append(s.rest, p...)
	whole := len(data)
	for i := max(0, len(data)-utf8.UTFMax+1); i < len(data); i++ {
		if utf8.RuneStart(data[i]) && !utf8.FullRune(data[i:]) {
			whole = i
			break
		}
	}
	s.rest = append([]byte(nil), data[whole:]...)
	if whole == 0 {
		return len(p), nil
	}
	return len(p), s.conn.Write(s.ctx, websocket.MessageText, []byte(strings.ToValidUTF8(string(data[:whole]), "\uFFFD")))
}

// flush sends what is left of a character that has not come to its end.
func (s *screen) flush() {
	if len(s.rest) > 0 {
		_ = s.conn.Write(s.ctx, websocket.MessageText, []byte("\uFFFD"))
	}
}
