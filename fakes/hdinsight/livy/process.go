package livy

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"lazulite.dev/emulator/engine"
)

// linesMost is how many lines of a process's output are kept (livy.cache-log.size).
const linesMost = 200

// watched runs the command that follows it, and ends it when its input ends:
// the emulator's own end, however it comes, is the end of what it started.
const watched = `exec 3<&0
"$@" </dev/null 3<&- &
child=$!
( cat <&3; kill -TERM $child; sleep 5; kill -KILL $child ) >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait $child
code=$?
kill $guard 2>/dev/null
exit $code`

// output is what a process printed, line by line, the newest of it.
type output struct {
	// found, if set, is called when the application's id is known.
	found func()

	mu   sync.Mutex
	app  string
	find *regexp.Regexp
	// whole are the lines of both streams as they came: Livy joins them.
	whole    []string
	out, err lines
}

// lines is a stream's line that has not ended.
type lines struct{ part []byte }

func newOutput() *output {
	return &output{find: regexp.MustCompile(`\b(application_\d+_\d+|app-\d{14}-\d+)\b`)}
}

func (l *lines) add(b []byte) (fresh []string) {
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			break
		}
		fresh = append(fresh, strings.TrimRight(string(l.part[:i]), "\r"))
		l.part = l.part[i+1:]
	}
	return fresh
}

// into is a writer of one of the two streams.
func (o *output) into(l *lines) io.Writer {
	return writer(func(b []byte) (int, error) {
		o.mu.Lock()
		before := o.app
		o.keep(l.add(b))
		fresh := o.app != before
		o.mu.Unlock()
		if fresh && o.found != nil {
			o.found()
		}
		return len(b), nil
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (o *output) keep(fresh []string) {
	for _, line := range fresh {
		if o.app == "" {
			o.app = o.find.FindString(line)
		}
	}
	o.whole = append(o.whole, fresh...)
	if n := len(o.whole) - linesMost; n > 0 {
		o.whole = append([]string(nil), o.whole[n:]...)
	}
}

// log is Livy's list of lines, its headings among them.
func (o *output) log() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []string{"stdout: "}
	all = append(all, o.whole...)
	for _, l := range []*lines{&o.out, &o.err} {
		if len(l.part) > 0 {
			all = append(all, string(l.part))
		}
	}
	return append(all, "\nstderr: ", "\nYARN Diagnostics: ")
}

// kept are the lines that the log has, without its headings.
func (o *output) kept() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.whole)
}

// say adds a line of the server's own to stderr.
func (o *output) say(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep([]string{line})
}

// application is the id that YARN gave, or Spark's own master, if it did.
func (o *output) application() *string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.app == "" {
		return nil
	}
	app := o.app
	return &app
}

// setApplication is told by a session itself.
func (o *output) setApplication(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.app == "" {
		o.app = o.find.FindString(id)
	}
}

// run runs a command that reads nothing, until it ends or ctx does.
func (s *Server) run(ctx context.Context, command, env []string, o *output) (engine.Exit, error) {
	there, _, err := s.cfg.Node.Home(ctx)
	if err != nil {
		return engine.Exit{}, err
	}
	// The pipe stays open as long as somebody is here to hold it.
	in, hold := io.Pipe()
	defer func() { _ = hold.Close() }()
	return s.cfg.Node.Exec(ctx, engine.Exec{
		Command: append([]string{"sh", "-c", watched, "sh"}, command...), Env: env, Dir: there,
		Stdin: in, Stdout: o.into(&o.out), Stderr: o.into(&o.err)})
}
