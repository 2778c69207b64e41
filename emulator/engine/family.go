package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a row of the machine's process table. Pid and start together name it for good.
type process struct {
	pid, parent, session int
	start                string
	dead                 bool // a zombie
	frozen               bool // by SIGSTOP
}

// family tells which processes belong to an instance or a container: those
// that carry its marker in their environment, those in a session that one of
// its commands leads, and all their descendants. So it finds what forked
// twice, made a session of its own or cleared its environment, though not
// what did all of that, left the folder it started in and lost its parent as
// well before it was seen. Who was seen once is known from then on.
type family struct {
	marker   string // NAME=value
	sessions []session
	known    map[int]string // start by pid
}

// session is one that a command of ours began, as its record keeps it.
type session struct {
	PID       int    `json:"pid"`
	Start     string `json:"start"`
	Boot      string `json:"boot"`
	Container string `json:"container"`
	Dir       string `json:"dir"` // that the command began in
}

func (f *family) members(table map[int]process) []process {
	in := map[int]bool{}
	self := os.Getpid()
	for pid, p := range table {
		if p.dead || pid == self || pid <= 1 {
			continue
		}
		in[pid] = f.known[pid] == p.start || f.inSession(table, p) || hasMarker(environment(pid), f.marker)
	}
	for grew := true; grew; {
		grew = false
		for pid, p := range table {
			if !in[pid] && !p.dead && pid != self && in[p.parent] {
				in[pid], grew = true, true
			}
		}
	}
	if f.known == nil {
		f.known = map[int]string{}
	}
	var out []process
	for pid, yes := range in {
		if yes {
			out = append(out, table[pid])
			f.known[pid] = table[pid].start
		}
	}
	return out
}

func (f *family) inSession(table map[int]process, p process) bool {
	for _, s := range f.sessions {
		if p.session != s.PID {
			continue
		}
		if leader, there := table[s.PID]; there {
			if leader.start == s.Start {
				return true
			}
			continue
		}
		// Without its leader the number alone could by now mean a stranger's session.
		if dir := workingFolder(p.pid); s.Dir != "" && (dir == s.Dir || strings.HasPrefix(dir, s.Dir+string(filepath.Separator))) {
			return true
		}
	}
	return false
}

func hasMarker(env []byte, marker string) bool {
	if len(env) == 0 || marker == "" {
		return false
	}
	m := []byte(marker)
	for i := 0; ; {
		j := bytes.Index(env[i:], m)
		if j < 0 {
			return false
		}
		j += i
		end := j + len(m)
		if (j == 0 || env[j-1] == 0) && (end == len(env) || env[end] == 0) {
			return true
		}
		i = end
	}
}

// signal sends to exactly this process, not to a later one of its number.
func (p process) signal(sig os.Signal) {
	h, err := os.FindProcess(p.pid)
	if err != nil {
		return
	}
	defer h.Release()
	if now, err := processByID(p.pid); err != nil || now.start != p.start {
		return
	}
	_ = h.Signal(sig) // that it has just ended is what was wanted
}

func (f *family) signal(sig syscall.Signal) (n int, err error) {
	table, err := processes()
	if err != nil {
		return 0, err
	}
	members := f.members(table)
	for _, p := range members {
		p.signal(sig)
	}
	return len(members), nil
}

// await polls until nobody is left or ctx ends. The kernel gives no notice of a
// stranger's death, so this waits in real time whatever the Clock does.
func (f *family) await(ctx context.Context) error {
	for d := time.Millisecond; ; d = min(2*d, 50*time.Millisecond) {
		table, err := processes()
		if err != nil {
			return err
		}
		if len(f.members(table)) == 0 {
			return nil
		}
		if err := pause(ctx, d); err != nil {
			return err
		}
	}
}

// kill ends them all. They are frozen first, until a look finds no other: else
// one that dies could leave a child that nothing ties to it any more.
func (f *family) kill(ctx context.Context) error {
	for d := time.Millisecond; ; d = min(2*d, 50*time.Millisecond) {
		if err := f.freeze(ctx); err != nil {
			return err
		}
		n, err := f.signal(syscall.SIGKILL)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if err := pause(ctx, d); err != nil {
			return errors.Join(errors.New("engine: processes are left that do not die"), err)
		}
	}
}

// How often freeze looks; one that sleeps in the kernel may take its time to stop.
const freezeLooks = 20

func (f *family) freeze(ctx context.Context) error {
	for range freezeLooks {
		table, err := processes()
		if err != nil {
			return err
		}
		moving := false
		for _, p := range f.members(table) {
			if !p.frozen {
				moving = true
				p.signal(syscall.SIGSTOP)
			}
		}
		if !moving {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
