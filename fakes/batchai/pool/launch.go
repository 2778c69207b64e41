package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/engine"
)

// launch is one attempt of a job on engines that really run something.
type launch struct {
	pool    *Pool
	job     *job
	kind    string
	mark    string
	places  []*place
	network []engine.Mount // that containers of the job's own have, too
	resume  bool
}

const (
	stopGrace  = 5 * time.Second
	clearLimit = time.Minute
)

func (j *job) launch(ctx context.Context, kind string, nodes []*node, left []*place, resume bool) (o outcome) {
	c := j.cluster
	p := c.pool
	own, err := p.mount(ctx, j.spec.Volumes)
	if err != nil {
		return asOutcome(ctx, mountError(err))
	}
	background := context.WithoutCancel(ctx)
	defer unmount(background, own, p.cfg.Logger)
	l := &launch{pool: p, job: j, kind: kind, mark: fmt.Sprintf("%s/%d", j.spec.ID, j.rec.Attempts), resume: resume}
	for _, n := range nodes {
		l.places = append(l.places, &place{node: n, folders: folders{root: n.seen(kind), host: n.root(), sharedHost: filepath.Join(c.dir, "shared"),
			shared: c.shared.list(), own: own, job: j.spec.ID}})
	}
	defer func() {
		if !l.clearAll(background) {
			o.unsure = true
		}
		if err := flush(background, c.shared.list()); err != nil {
			p.cfg.Logger.Error("a volume is not written back", "cluster", c.spec.ID, "error", err)
		}
	}()
	if err := l.arrange(ctx, left); err != nil {
		return asOutcome(ctx, err)
	}
	l.log("Job %s, attempt %d, on %d node(s): %s.", j.spec.ID, j.rec.Attempts, len(nodes), strings.Join(l.hosts(), ", "))
	for _, w := range l.warnings() {
		l.log("Warning: %s", w)
	}
	defer func() {
		switch {
		case o.exit != nil:
			l.log("Job finished with exit code %d.", *o.exit)
		case ctx.Err() != nil:
			l.log("Job was stopped: %v.", context.Cause(ctx))
		}
		for _, e := range o.errs {
			l.log("Error: %s", e.Error())
		}
	}()
	return l.play(ctx)
}

// arrange has a container and folders on each node.
func (l *launch) arrange(ctx context.Context, left []*place) error {
	if l.resume {
		for _, pl := range l.places {
			select {
			case <-pl.node.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			pl.folders.shared = l.job.cluster.shared.list()
		}
		for i, pl := range l.places {
			pl.container = pl.node.container
			for _, old := range left {
				if old.node == pl.node {
					l.places[i].container, l.places[i].own = old.container, true
				}
			}
			if l.job.spec.Container != nil && !pl.own {
				return errLost
			}
		}
		return nil
	}
	if l.job.spec.Container != nil && l.pool.cfg.Network != nil && l.kind == kindDocker {
		_, mounts, err := l.pool.cfg.Network(ctx)
		if err != nil {
			return err
		}
		l.network = mounts
	}
	return l.everywhere(func(at int) error { return l.prepare(ctx, at) })
}

// everywhere does something on all places at once.
func (l *launch) everywhere(do func(at int) error) error {
	errs := make([]error, len(l.places))
	var all sync.WaitGroup
	for at := range l.places {
		all.Go(func() { errs[at] = do(at) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (l *launch) clearAll(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, clearLimit)
	defer cancel()
	var mu sync.Mutex
	sure := true
	_ = l.everywhere(func(at int) error {
		ok := l.clear(ctx, l.places[at])
		mu.Lock()
		sure = sure && ok
		mu.Unlock()
		return nil
	})
	return sure
}

// play runs the preparation everywhere, and then the job's processes.
func (l *launch) play(ctx context.Context) outcome {
	j := l.job
	processes, err := l.plan(l.freePorts)
	if err != nil {
		return asOutcome(ctx, err)
	}
	if !l.resume {
		if err := j.begun(ctx, l.warnings()); err != nil {
			return asOutcome(ctx, err)
		}
	}
	if len(processes) == 1 && len(l.places) == 1 && !processes[0].mpi {
		return l.single(ctx, processes[0])
	}
	if !l.resume {
		if o, ok := l.prepareAll(ctx); !ok {
			return o
		}
		if processes[0].mpi && !l.finds(ctx, "mpirun") {
			return failed("JobFailed", "The job's toolkit needs mpirun, and node %s has none: install Open MPI (apt-get install openmpi-bin) on this host, in the setup task or in the job's preparation.", l.places[0].node.rec.ID)
		}
	} else if !l.launched(processes) {
		return failed("NodeLost", "The emulator ended while the job was being prepared: it is not begun again.")
	}
	return l.runAll(ctx, processes)
}

// single is preparation and process in one go.
func (l *launch) single(ctx context.Context, x process) outcome {
	pl := l.places[0]
	out := pl.folders.inside(l.job.spec.stdOutErr())
	code, err := l.run(ctx, pl, "main", append(l.environment(0), x.env...), l.resume,
		out+"/stdout.txt", out+"/stderr.txt", l.job.spec.Preparation, out+"/stdout-job_prep.txt", out+"/stderr-job_prep.txt", x.command)
	if err != nil {
		return l.lost(ctx, err)
	}
	if l.job.spec.Preparation != "" {
		if _, err := os.Stat(filepath.Join(l.kept(pl), "main", "unprepared")); err == nil {
			return unprepared(code)
		}
	}
	return outcome{exit: &code}
}

// kept is where a place's runners keep their state, on this host.
func (l *launch) kept(pl *place) string {
	return filepath.Join(pl.folders.host, "jobs", l.job.spec.ID, ".lazulite")
}

func unprepared(code int) outcome {
	return outcome{exit: &code, errs: []Error{{Code: "JobPreparationFailed", Message: "Job preparation failed with non-zero exit code"}}}
}

// lost is a process of which nobody knows how it ended.
func (l *launch) lost(ctx context.Context, err error) outcome {
	if ctx.Err() != nil {
		return outcome{}
	}
	for _, pl := range l.places {
		if ended(pl.node.container) {
			pl.node.died()
		}
	}
	return failed("NodeLost", "A node of the job was lost: %v.", err)
}

// prepareAll has the nodes reach each other, and runs the preparation on each.
func (l *launch) prepareAll(ctx context.Context) (outcome, bool) {
	codes := make([]int, len(l.places))
	err := l.everywhere(func(at int) error {
		pl := l.places[at]
		if l.kind == kindDocker {
			keys := filepath.Join(l.job.cluster.dir, "keys")
			var said strings.Builder
			exit, err := pl.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-c", sshScript, "jobssh", keys, l.mark}, Env: []string{markVariable + "=" + l.mark}, User: "root", Dir: "/", Stderr: &said})
			if err != nil {
				return err
			}
			if exit.Code != 0 {
				return fmt.Errorf("the nodes' SSH server: exit status %d: %s", exit.Code, strings.TrimSpace(said.String()))
			}
		}
		if l.job.spec.Preparation == "" {
			return nil
		}
		out := pl.folders.inside(l.job.spec.stdOutErr())
		suffix := ""
		if len(l.places) > 1 {
			suffix = "-" + pl.node.rec.ID
		}
		var err error
		codes[at], err = l.run(ctx, pl, "preparation", l.environment(at), false, "", "", l.job.spec.Preparation,
			out+"/stdout-job_prep"+suffix+".txt", out+"/stderr-job_prep"+suffix+".txt", "")
		return err
	})
	if err != nil {
		return l.lost(ctx, err), false
	}
	for _, code := range codes {
		if code != 0 {
			return unprepared(code), false
		}
	}
	return outcome{}, true
}

// finds says whether the master has a command.
func (l *launch) finds(ctx context.Context, command string) bool {
	pl := l.places[0]
	exit, err := pl.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-c", `command -v "$1" >/dev/null`, "find", command}, Env: l.environment(0), User: "root", Dir: pl.jobTemp()})
	return err == nil && exit.Code == 0
}

// launched says whether all processes had begun.
func (l *launch) launched(all []process) bool {
	for _, x := range all {
		if _, err := os.Stat(filepath.Join(l.kept(l.places[x.place]), x.dir())); err != nil {
			return false
		}
	}
	return true
}

func (x process) dir() string { return "main" + x.name }

// runAll runs the processes until all that have an end have come to it, or one failed.
func (l *launch) runAll(ctx context.Context, all []process) outcome {
	type ended struct {
		process
		code int
		err  error
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan ended, len(all))
	waiting := 0
	var running sync.WaitGroup
	for _, x := range all {
		if !x.serves {
			waiting++
		}
		running.Go(func() {
			pl := l.places[x.place]
			out := pl.folders.inside(l.job.spec.stdOutErr())
			suffix := ""
			if x.suffix != "" {
				suffix = "-" + x.suffix
			}
			code, err := l.run(inner, pl, x.dir(), append(l.environment(x.place), x.env...), l.resume,
				out+"/stdout"+suffix+".txt", out+"/stderr"+suffix+".txt", "", "", "", x.command)
			ends <- ended{x, code, err}
		})
	}
	defer running.Wait()
	defer cancel()
	code := 0
	for waiting > 0 {
		e := <-ends
		switch {
		case e.err != nil:
			return l.lost(ctx, e.err)
		case e.code != 0:
			return outcome{exit: &e.code}
		case !e.serves:
			waiting--
		}
	}
	return outcome{exit: &code}
}

// freePorts gives ports at which nobody listens on a node.
func (l *launch) freePorts(_, n int) ([]int, error) {
	var out []int
	if l.kind == kindDocker {
		for i := range n {
			out = append(out, 2222+i)
		}
		return out, nil
	}
	// All nodes are this host: they are held together until all are found.
	for range n {
		listener, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		out = append(out, portOf(listener.Addr().String()))
	}
	return out, nil
}

// warnings of what is not as it was on Azure.
func (l *launch) warnings() []string {
	var out []string
	for _, pl := range l.places {
		if notice := l.job.cluster.size.Notice(pl.node.limits); notice != "" {
			out = append(out, notice)
			break // the others' differ by a number at most
		}
	}
	if c := l.job.spec.Container; c != nil && l.kind == kindProcess {
		out = append(out, fmt.Sprintf("The job runs on this host instead of in a container of %s: the process engine has no images, and for a plain one the host stands.", c.Image))
	}
	if c := l.job.spec.Container; c != nil && c.SHMSize != "" {
		out = append(out, "containerSettings.shmSize is not applied: the container has what the engine gives.")
	}
	return out
}

// log writes into the job's execution.log, on each node's own of several.
func (l *launch) log(format string, args ...any) {
	line := l.pool.cfg.Clock.Now().Format("2006-01-02T15:04:05.000Z ") + fmt.Sprintf(format, args...) + "\n"
	for _, pl := range l.places {
		name := "execution.log"
		if len(l.places) > 1 {
			name = "execution-" + pl.node.rec.ID + ".log"
		}
		f, err := os.OpenFile(filepath.Join(pl.folders.onHost(l.job.spec.stdOutErr()), name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString(line)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			l.pool.cfg.Logger.Warn("a job's execution log is not written", "job", l.job.spec.ID, "error", err)
		}
	}
}
