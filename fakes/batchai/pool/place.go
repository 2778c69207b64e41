package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
)

// place is where a job is on one of its nodes: in the node's own container, or
// in one of the job's that has the node's network.
type place struct {
	node      *node
	container engine.Container
	own       bool // it is the job's
	folders   folders
	ports     []int
}

// markVariable tells the processes of a job from others on its nodes.
const markVariable = "LAZULITE_JOB"

// placeName of a container of the job's own.
func (j *job) placeName(at int) string {
	return fmt.Sprintf("job-%s-%d-%d", j.spec.ID, j.rec.Attempts, at)
}

// prepare makes the job's folders on the node, new ones, and its container if it gets one.
func (l *launch) prepare(ctx context.Context, at int) error {
	pl, j := l.places[at], l.job
	jobs := filepath.Join(pl.folders.host, "jobs")
	if err := l.empty(ctx, pl, jobs); err != nil {
		return err
	}
	temp := filepath.Join(jobs, j.spec.ID)
	dirs := []string{filepath.Join(temp, "mounts"), filepath.Join(temp, ".lazulite"), filepath.Join(pl.folders.sharedHost, j.spec.ID), pl.folders.onHost(j.spec.stdOutErr())}
	for _, o := range j.spec.Outputs {
		dirs = append(dirs, pl.folders.onHost(o.path(j.spec.Segment)))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(temp, "hostfile"), []byte(l.hostfile()), 0o644); err != nil {
		return err
	}
	container := j.spec.Container
	if container == nil || l.kind != kindDocker {
		for _, v := range pl.folders.own {
			if l.kind == kindDocker && !l.visible(v.Dir) {
				return Error{Code: "MountFailed", Message: fmt.Sprintf("The volume at %s can't be mounted on a node that runs already.", v.Path)}
			}
			if err := symlink(v.Dir, filepath.Join(temp, "mounts", v.Path)); err != nil {
				return err
			}
		}
	}
	if container == nil && l.kind == kindDocker {
		pl.container = pl.node.container
		return nil
	}
	if container != nil && l.kind == kindProcess {
		if _, ok := engine.FindHostImage(container.Image); !ok {
			return startError(container.Image, fmt.Sprintf("This emulator's containers are processes of this host, which stands for images of plain distributions and of Python and for the SDK's base images, and not for %s. With Docker any image is run.", container.Image))
		}
	}
	spec := engine.Spec{Name: j.placeName(at), Env: pl.node.env, Limits: pl.node.limits,
		Labels: map[string]string{"lazulite.cluster": j.cluster.spec.ID, "lazulite.job": j.spec.ID}}
	if container != nil && l.kind != kindProcess {
		spec.Image = container.Image // processes of this host have no image
	}
	if l.kind == kindProcess {
		spec.Dir = temp
	} else {
		l.containerSpec(pl, &spec)
	}
	made, err := l.pool.cfg.Engine.Start(ctx, spec)
	if errors.Is(err, engine.ErrNoImage) {
		return startError(spec.Image, err.Error())
	} else if err != nil {
		return err
	}
	pl.container, pl.own = made, true
	return nil
}

// startError is of a container that can't be made, in the service's words (a user's report, azure-docs issue 15559).
func startError(image, why string) Error {
	return Error{Code: "FailedStartingContainer", Message: "unable to start docker container", Details: []Detail{{"imageName", image}, {"Info", why}}}
}

// containerSpec is what a container of the job's own has of its node.
func (l *launch) containerSpec(pl *place, spec *engine.Spec) {
	c := l.job.cluster
	spec.Join = pl.node.containerName()
	keys := filepath.Join(c.dir, "keys")
	spec.Mounts = append(spec.Mounts, l.network...)
	spec.Mounts = append(spec.Mounts, engine.Mount{Source: pl.folders.host, Target: lsRoot},
		engine.Mount{Source: pl.folders.sharedHost, Target: path.Join(lsRoot, "shared")}, engine.Mount{Source: keys, Target: keys})
	for _, v := range pl.folders.shared {
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: v.Dir, Target: path.Join(lsRoot, "mounts", v.Path)})
	}
	for _, v := range pl.folders.own {
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: v.Dir, Target: path.Join(lsRoot, "jobs", l.job.spec.ID, "mounts", v.Path)})
	}
}

// visible says whether a running node sees a folder of this host.
func (l *launch) visible(dir string) bool {
	for _, f := range l.pool.cfg.Folders {
		if rel, err := filepath.Rel(f, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// empty takes away what earlier jobs left in their temporary folders.
func (l *launch) empty(ctx context.Context, pl *place, jobs string) error {
	entries, err := os.ReadDir(jobs)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		err := os.RemoveAll(filepath.Join(jobs, e.Name()))
		if err == nil {
			continue
		}
		if l.kind != kindDocker {
			return err
		}
		// What is root's takes root.
		if exit, failed := pl.node.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"rm", "-rf", path.Join(lsRoot, "jobs", e.Name())}, User: "root", Dir: "/"}); failed != nil || exit.Code != 0 {
			return errors.Join(err, failed)
		}
	}
	return nil
}

// runner runs a preparation, and then a command if there is one, under a shell,
// once: run DIR STDOUT STDERR PREPARATION PREPOUT PREPERR COMMAND. DIR tells how far it
// came, and at the end the exit code: it goes on where the emulator doesn't.
const runner = `
dir=$1 out=$2 err=$3 preparation=$4 prepout=$5 preperr=$6 command=$7
umask 022
mkdir "$dir" || { echo "it was begun before" >&2; exit 125; }
echo $$ >"$dir/pid"
shell=/bin/bash
[ -x $shell ] || shell=/bin/sh
cd "$AZ_BATCHAI_JOB_TEMP"
end() { echo "$1" >"$dir/exit.new"; mv "$dir/exit.new" "$dir/exit"; exit "$1"; }
if [ -n "$preparation" ]; then
  $shell -c "$preparation" </dev/null >>"$prepout" 2>>"$preperr"
  code=$?
  [ $code = 0 ] || { : >"$dir/unprepared"; end $code; }
fi
[ -n "$command" ] || end 0
$shell -c "$command" </dev/null >>"$out" 2>>"$err"
end $?
`

// waiter waits for a runner that another emulator began: wait DIR. It prints its
// exit code, or nothing if the runner is gone without one.
const waiter = `
while [ ! -e "$1/exit" ]; do
  kill -0 "$(cat "$1/pid")" 2>/dev/null || break
  sleep 0.2
done
cat "$1/exit" 2>/dev/null || :
`

// killer ends all processes of a job: kill MARK. SIGTERM, and SIGKILL after five seconds.
const killer = `
marked() { grep -lzxF "` + markVariable + `=$1" /proc/[0-9]*/environ 2>/dev/null | sed 's|^/proc/||; s|/environ$||'; }
send() { for p in $(marked "$2"); do kill -"$1" "$p" 2>/dev/null; done; }
send TERM "$1"
# An sshd writes over its environment.
if read -r pid </run/lazulite-job-sshd.pid; then
  [ "$(cat "/proc/$pid/comm")" != sshd ] || kill "$pid"
  rm -f /run/lazulite-job-sshd.pid
fi 2>/dev/null
i=0
while [ -n "$(marked "$1")" ]; do
  i=$((i+1))
  [ $i -lt 150 ] || exit 1
  [ $i -lt 50 ] || send KILL "$1"
  sleep 0.1
done
`

// run runs one process through the runner, or waits for one that goes on.
func (l *launch) run(ctx context.Context, pl *place, name string, env []string, resume bool, args ...string) (code int, err error) {
	dir := pl.jobTemp(".lazulite", name)
	execer, ok := pl.container.(engine.Execer)
	if !ok {
		return 0, fmt.Errorf("pool: the %s engine can't run commands in a node", l.kind)
	}
	if resume {
		var out bytes.Buffer
		if _, err := execer.Exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-c", waiter, "wait", dir}, User: "root", Dir: "/", Stdout: &out}); err != nil {
			return 0, err
		}
		code, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if err != nil {
			return 0, errLost
		}
		return code, nil
	}
	var said bytes.Buffer
	exit, err := execer.Exec(ctx, engine.Exec{Command: append([]string{"/bin/sh", "-c", runner, "run", dir}, args...), Env: env, User: "root",
		Dir: pl.jobTemp(), Stdout: io.Discard, Stderr: &limited{&said}})
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(l.kept(pl), name, "exit")); err != nil {
		return 0, errLost // the runner was ended, not what it ran
	}
	if said.Len() > 0 {
		l.pool.cfg.Logger.Debug("a job's runner says", "job", l.job.spec.ID, "text", said.String())
	}
	return exit.Code, nil
}

// errLost says that a process ended and nobody knows how.
var errLost = errors.New("pool: the process is gone, and its exit code with it")

// limited keeps the first kilobyte.
type limited struct{ b *bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := 1024 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// How long after its processes a container's end may be told.
const endLimit = 3 * time.Second

// clear ends all that the job left on a place; true: nothing of it runs any more.
func (l *launch) clear(ctx context.Context, pl *place) bool {
	if pl.container == nil {
		return true
	}
	if pl.own {
		if err := errors.Join(pl.container.Stop(ctx, stopGrace), pl.container.Remove(ctx)); err != nil {
			l.pool.cfg.Logger.Error("a job's container is not removed", "job", l.job.spec.ID, "error", err)
			return false
		}
		return true
	}
	exit, err := pl.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-c", killer, "kill", l.mark}, User: "root", Dir: "/"})
	if err != nil || exit.Code != 0 {
		// It may have gone with its node, of which the engine hears a little later.
		soon, cancel := context.WithTimeout(ctx, endLimit)
		defer cancel()
		if _, gone := pl.container.Wait(soon); gone == nil {
			return true
		}
		l.pool.cfg.Logger.Error("a job's processes are not ended", "job", l.job.spec.ID, "node", pl.node.rec.ID, "code", exit.Code, "error", err)
		return false
	}
	return true
}
