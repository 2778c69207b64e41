package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/emulator/sshd"
	"lazulite.dev/fakes/batchai/pool"
)

// real is a Pool on an engine that runs what it is told, with a folder of volumes.
type real struct {
	*world
	engine  engine.Engine
	dir     string
	volumes string
	notes   chan struct{}
	cfg     pool.Config
}

func newReal(t testing.TB, e engine.Engine, dir string) *real {
	t.Helper()
	r := &real{world: &world{t: t}, engine: e, dir: dir, volumes: filepath.Join(dir, "volumes"), notes: make(chan struct{}, 1)}
	r.cfg = pool.Config{Engine: e, Dir: filepath.Join(dir, "pool"), Mount: folderMount(r.volumes), Folders: []string{r.volumes, filepath.Join(dir, "more")},
		Lifecycles:  map[string]pool.Lifecycle{"fast": {"evaluate": {Delay: 50 * time.Millisecond}, "idle": {Delay: time.Minute}}},
		Hardware:    hardware.New(hardware.Config{GPUs: func() ([]hardware.GPU, error) { return nil, nil }}),
		Environment: []string{"PATH=" + os.Getenv("PATH")},
		Changed: func(pool.Change) {
			select {
			case r.notes <- struct{}{}:
			default:
			}
		}}
	if err := os.MkdirAll(r.volumes, 0o755); err != nil {
		t.Fatal(err)
	}
	r.open()
	return r
}

func (r *real) open() {
	r.t.Helper()
	r.Pool = pool.New(r.cfg)
	if err := r.Open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) shut() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(r.Close(ctx), r.engine.Close(ctx)); err != nil {
		r.t.Error(err)
	}
}

// await waits for a condition, looking at each change.
func (r *real) await(what string, limit time.Duration, so func() bool) {
	r.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-r.notes:
		case <-tick.C:
		case <-deadline:
			c, _ := r.Cluster("c")
			r.t.Fatalf("%s: not in %v; %s %v", what, limit, counts(c), c.Errors)
		}
	}
}

func (r *real) done(id string) pool.JobStatus {
	r.t.Helper()
	r.await("the end of "+id, 2*time.Minute, func() bool { return r.job(id).Done() })
	return r.job(id)
}

// output of a job, by a file's name; its names are all of its stdouterr folder.
func (r *real) output(id, file string) string {
	data, err := os.ReadFile(filepath.Join(r.volumes, "logs", id, "stdouterr", file))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (r *real) files(folder string) []string {
	entries, _ := os.ReadDir(filepath.Join(r.volumes, folder))
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// script puts a file on the volume.
func (r *real) script(name, text string) {
	r.t.Helper()
	folder := filepath.Join(r.volumes, "scripts")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)); err != nil {
		r.t.Fatal(err)
	}
}

func task(id string, nodes int, t pool.Toolkit) pool.Job {
	return pool.Job{ID: id, Cluster: "c", Nodes: nodes, Toolkit: t, StdOutErrPathPrefix: "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs", Segment: id,
		Volumes: []pool.Volume{volume("logs", "logs"), volume("scripts", "scripts")},
		Inputs:  []pool.Input{{ID: "SCRIPT", Path: "$AZ_BATCHAI_JOB_MOUNT_ROOT/scripts"}},
		Outputs: []pool.Output{{ID: "MODEL", PathPrefix: "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs", PathSuffix: "Models"}}}
}

func shell(command string) pool.Toolkit { return pool.Toolkit{Type: pool.Custom, CommandLine: command} }

// suite is what every engine that runs something must do.
func suite(t *testing.T, r *real, python, mpiPython string) {
	const password = "lazy-Password.1"
	hash, err := sshd.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(r.dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Skipf("ssh-keygen: %v %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	r.create(pool.Cluster{ID: "c", Scale: manual(3, ""), PasswordHash: hash, PublicKey: string(public), Volumes: []pool.Volume{volume("data", "data")},
		Setup: &pool.Setup{CommandLine: "echo set up by $WHO | tee $AZ_BATCHAI_MOUNT_ROOT/data/by-$AZ_BATCH_NODE_ID", Variables: []pool.Variable{{Name: "WHO", Value: "me"}},
			StdOutErrPathPrefix: "$AZ_BATCHAI_MOUNT_ROOT/data", Suffix: "c/setup"}})
	r.await("three idle nodes", 2*time.Minute, func() bool { return counts(r.cluster("c")) == "3 idle" })

	t.Run("setup", func(t *testing.T) {
		for _, n := range r.cluster("c").Nodes {
			for _, file := range []string{"data/by-" + n.ID, "data/c/setup/stdout-" + n.ID + ".txt"} {
				if data, err := os.ReadFile(filepath.Join(r.volumes, file)); string(data) != "set up by me\n" {
					t.Errorf("%s: %q %v", file, data, err)
				}
			}
		}
	})
	t.Run("login", func(t *testing.T) {
		for _, n := range r.cluster("c").Nodes {
			out, err := exec.Command("ssh", "-p", fmt.Sprint(n.Port), "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
				"demo@"+n.Address, "echo $USER").CombinedOutput()
			if err != nil || string(out) != "demo\n" {
				t.Errorf("%s: %s%v", n.ID, out, err)
			}
		}
	})
	t.Run("custom", func(t *testing.T) {
		j := task("custom", 1, shell(`cat $AZ_BATCHAI_JOB_TEMP/prepared; echo "$A-$SECRET"; echo no >&2; echo model >$AZ_BATCHAI_OUTPUT_MODEL/m.txt; test -d $AZ_BATCHAI_INPUT_SCRIPT && echo gpus $AZ_BATCHAI_NUM_GPUS; exit 3`))
		j.Preparation = "echo ready >$AZ_BATCHAI_JOB_TEMP/prepared; echo done"
		j.Variables = []pool.Variable{{Name: "A", Value: "a b"}, {Name: "SECRET", Value: "s3cr3t", Secret: true}}
		r.submit(j)
		s := r.done("custom")
		if s.State != pool.JobFailed || s.ExitCode == nil || *s.ExitCode != 3 || errorCode(s) != "JobFailed" {
			t.Errorf("%+v", s)
		}
		for file, want := range map[string]string{"stdout.txt": "ready\na b-s3cr3t\ngpus 0\n", "stderr.txt": "no\n", "stdout-job_prep.txt": "done\n", "stderr-job_prep.txt": ""} {
			if got := r.output("custom", file); got != want {
				t.Errorf("%s: %q", file, got)
			}
		}
		if log := r.output("custom", "execution.log"); !strings.Contains(log, "exit code 3") || strings.Contains(log, "s3cr3t") {
			t.Errorf("execution.log: %s", log)
		}
		if got := r.files("logs/custom/outputs/Models"); !slices.Equal(got, []string{"m.txt"}) {
			t.Errorf("outputs: %v", got)
		}
	})
	t.Run("unprepared", func(t *testing.T) {
		j := task("unprepared", 1, shell("echo never"))
		j.Preparation = "exit 4"
		r.submit(j)
		if s := r.done("unprepared"); s.State != pool.JobFailed || s.ExitCode == nil || *s.ExitCode != 4 || errorCode(s) != "JobPreparationFailed" {
			t.Errorf("%+v", s)
		}
		if got := r.output("unprepared", "stdout.txt"); strings.Contains(got, "never") {
			t.Errorf("stdout: %q", got)
		}
	})
	t.Run("wrong mount", func(t *testing.T) {
		j := task("wrong", 1, shell("true"))
		j.Volumes = append(j.Volumes, volume("x", "wrong"))
		r.submit(j)
		if s := r.done("wrong"); s.State != pool.JobFailed || s.ExitCode != nil || errorCode(s) != "MountFailed" || !strings.Contains(s.Errors[0].Message, "the account's key is wrong") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("terminate", func(t *testing.T) {
		j := task("long", 2, shell("trap '' TERM; echo begun; sleep 300 & setsid sleep 301 & wait; wait"))
		r.submit(j)
		r.await("its first line", time.Minute, func() bool { return r.output("long", "stdout.txt") == "begun\n" })
		began := time.Now()
		if err := r.Terminate("long"); err != nil {
			t.Fatal(err)
		}
		if s := r.job("long"); s.State != pool.JobTerminating {
			t.Errorf("%+v", s)
		}
		if s := r.done("long"); s.State != pool.JobFailed || s.ExitCode != nil || errorCode(s) != "JobTerminated" {
			t.Errorf("%+v", s)
		}
		t.Logf("terminated in %v", time.Since(began))
		if out, _ := exec.Command("pgrep", "-f", "^sleep 30[01]$").Output(); len(out) > 0 {
			t.Errorf("processes are left: %s", out)
		}
	})
	t.Run("time limit", func(t *testing.T) {
		j := task("limited", 1, shell("sleep 300"))
		j.MaxWallClockTime = 2 * time.Second
		r.submit(j)
		if s := r.done("limited"); s.State != pool.JobFailed || errorCode(s) != "JobTimedOut" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("parameter servers and workers", func(t *testing.T) {
		r.script("sum.py", psScript)
		arguments := "--role=$ROLE --ps_hosts=$AZ_BATCHAI_PS_HOSTS --worker_hosts=$AZ_BATCHAI_WORKER_HOSTS --task_index=$AZ_BATCHAI_TASK_INDEX"
		j := task("ps", 3, pool.Toolkit{Type: pool.TensorFlow, Interpreter: python, Script: "$AZ_BATCHAI_INPUT_SCRIPT/sum.py", ParameterServers: 1, Workers: 3,
			Arguments: strings.ReplaceAll(arguments, "$ROLE", "worker") + " --master", WorkerArguments: strings.ReplaceAll(arguments, "$ROLE", "worker"),
			ParameterServerArguments: strings.ReplaceAll(arguments, "$ROLE", "ps")})
		r.submit(j)
		if s := r.done("ps"); s.State != pool.JobSucceeded {
			t.Errorf("%+v", s)
		}
		if got := r.output("ps", "stdout-wk-0.txt"); got != "sum 6 of 3 workers, as master\n" {
			t.Errorf("worker 0: %q %s", got, r.output("ps", "stderr-wk-0.txt"))
		}
		got := r.files("logs/ps/stdouterr")
		for _, n := range r.job("ps").Nodes {
			if !slices.Contains(got, "execution-"+n+".log") {
				t.Errorf("no log of %s: %v", n, got)
			}
		}
		for _, file := range []string{"stdout-ps-0.txt", "stderr-wk-2.txt"} {
			if !slices.Contains(got, file) {
				t.Errorf("no %s: %v", file, got)
			}
		}
	})
	t.Run("pytorch", func(t *testing.T) {
		r.script("rank.py", "import os\nprint(os.environ['AZ_BATCHAI_TASK_INDEX'], os.environ['AZ_BATCHAI_PYTORCH_INIT_METHOD'].split(':')[0])\n")
		r.submit(task("torch", 2, pool.Toolkit{Type: pool.PyTorch, Interpreter: python, Script: "$AZ_BATCHAI_INPUT_SCRIPT/rank.py", Backend: "TCP"}))
		if s := r.done("torch"); s.State != pool.JobSucceeded || r.output("torch", "stdout-0.txt") != "0 tcp\n" || r.output("torch", "stdout-1.txt") != "1 tcp\n" {
			t.Errorf("%+v: %q %q", s, r.output("torch", "stdout-0.txt"), r.output("torch", "stderr-0.txt"))
		}
	})
	t.Run("allreduce", func(t *testing.T) {
		if mpiPython == "" {
			t.Skip("no Python with mpi4py, or no mpirun")
		}
		r.script("allreduce.py", "from mpi4py import MPI\nc = MPI.COMM_WORLD\ns = c.allreduce(c.rank + 1)\nprint('sum', s, 'of', c.size, 'on', MPI.Get_processor_name(), flush=True)\n")
		r.submit(task("allreduce", 2, pool.Toolkit{Type: pool.Horovod, Interpreter: mpiPython, Script: "$AZ_BATCHAI_INPUT_SCRIPT/allreduce.py", Processes: 4}))
		s := r.done("allreduce")
		lines := regexp.MustCompile(`(?m)^sum 10 of 4 on (\S+)$`).FindAllStringSubmatch(r.output("allreduce", "stdout.txt"), -1)
		if s.State != pool.JobSucceeded || len(lines) != 4 {
			t.Fatalf("%+v\n%s\n%s", s, r.output("allreduce", "stdout.txt"), r.output("allreduce", "stderr.txt"))
		}
		hosts := map[string]bool{}
		for _, l := range lines {
			hosts[l[1]] = true
		}
		if want := map[string]int{"docker": 2, "process": 1}[r.engine.Name()]; len(hosts) != want {
			t.Errorf("on %v", hosts)
		}
		r.submit(task("mpi", 2, pool.Toolkit{Type: pool.CustomMPI, CommandLine: `echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $A"; exit $((OMPI_COMM_WORLD_RANK * 7))`}))
		if s := r.done("mpi"); s.State != pool.JobFailed || *s.ExitCode != 7 || !strings.Contains(r.output("mpi", "stdout.txt"), "rank 1 of 2") {
			t.Errorf("%+v\n%s", s, r.output("mpi", "stdout.txt"))
		}
	})
	t.Run("toolkits", func(t *testing.T) { toolkits(t, r, "python3") })
	t.Run("volumes are a job's own", func(t *testing.T) {
		j := task("checker", 1, shell("ls $AZ_BATCHAI_JOB_MOUNT_ROOT; ls $AZ_BATCHAI_JOB_TEMP_DIR; ls $AZ_BATCHAI_MOUNT_ROOT"))
		r.submit(j)
		if s := r.done("checker"); s.State != pool.JobSucceeded || r.output("checker", "stdout.txt") != "logs\nscripts\nchecker\ndata\n" {
			t.Errorf("%+v: %q", s, r.output("checker", "stdout.txt"))
		}
	})
	r.await("three idle nodes at the end", time.Minute, func() bool { return counts(r.cluster("c")) == "3 idle" })
}

// psScript sums the workers' shares in a parameter server, over plain TCP.
const psScript = `import argparse, json, os, socket, time
a = argparse.ArgumentParser()
for n in ('role', 'ps_hosts', 'worker_hosts'): a.add_argument('--' + n)
a.add_argument('--task_index', type=int); a.add_argument('--master', action='store_true')
o = a.parse_args()
config = json.loads(os.environ['TF_CONFIG'])
assert ','.join(config['cluster']['worker']) == o.worker_hosts and config['task']['index'] == o.task_index, config
host, port = o.ps_hosts.split(':')
workers = len(o.worker_hosts.split(','))
if o.role == 'ps':
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', int(port))); s.listen(9)
    peers, total = [], 0
    while True:
        while len(peers) < workers:
            c, _ = s.accept(); total += int(c.makefile().readline()); peers.append(c)
        for c in peers: c.sendall(b'%d\n' % total); c.close()
        peers, total = [], 0
for _ in range(200):
    try: c = socket.create_connection((host, int(port))); break
    except OSError: time.sleep(.05)
c.sendall(b'%d\n' % (o.task_index + 1))
print('sum', c.makefile().readline().strip(), 'of', workers, 'workers,', 'as master' if o.master else 'as worker')
`

// mpiVenv is a virtual environment with mpi4py from PyPI; "" if it isn't to be had.
func mpiVenv(t *testing.T, dir string) string {
	t.Helper()
	if testing.Short() {
		return ""
	}
	if _, err := exec.LookPath("mpirun"); err != nil {
		return ""
	}
	venv := filepath.Join(dir, "venv")
	for _, c := range [][]string{{"python3", "-m", "venv", venv}, {filepath.Join(venv, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "mpi4py"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Logf("%v: %v %s", c, err, out)
			return ""
		}
	}
	return filepath.Join(venv, "bin", "python")
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	r := newReal(t, e, dir)
	defer r.shut()
	suite(t, r, "", mpiVenv(t, dir))
	j := task("image", 1, shell("true"))
	j.Container = &pool.Container{Image: "ubuntu"}
	r.submit(j)
	// Batch AI's clusters of this engine have no containers, and say so.
	if s := r.done("image"); s.State != pool.JobSucceeded || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "runs on this host instead of in a container of ubuntu") ||
		!strings.Contains(r.output("image", "execution.log"), s.Warnings[0]) {
		t.Errorf("%+v\n%s", s, r.output("image", "execution.log"))
	}
	// An image that has something of its own is not to be had, and nothing runs.
	j = task("other", 1, shell("echo never"))
	j.Container = &pool.Container{Image: "tensorflow/tensorflow:1.8.0-gpu"}
	r.submit(j)
	if s := r.done("other"); s.State != pool.JobFailed || s.ExitCode != nil || errorCode(s) != "FailedStartingContainer" || !strings.Contains(s.Errors[0].Error(), "not for tensorflow/tensorflow:1.8.0-gpu") || strings.Contains(r.output("other", "stdout.txt"), "never") {
		t.Errorf("%+v", s)
	}
	t.Run("an unusable node is mended by target 0 and back", func(t *testing.T) {
		r.create(pool.Cluster{ID: "mend", Scale: manual(1, ""), Volumes: []pool.Volume{volume("data", "data")}, Setup: &pool.Setup{CommandLine: "test -e $AZ_BATCHAI_MOUNT_ROOT/data/mended"}})
		j := task("mended", 1, shell("echo well"))
		j.Cluster = "mend"
		r.submit(j)
		r.await("an unusable node", time.Minute, func() bool {
			return counts(r.cluster("mend")) == "1 unusable" && strings.Contains(r.job("mended").Waiting, "unusable")
		})
		if err := os.WriteFile(filepath.Join(r.volumes, "data", "mended"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if s := r.cluster("mend"); counts(s) != "1 unusable" || len(s.Errors) != 1 || s.Errors[0].Code != "NodeSetupFailed" {
			t.Errorf("%s %+v", counts(s), s.Errors)
		}
		for target, want := range []string{"", "1 idle"} {
			if err := r.SetScale("mend", manual(target, "")); err != nil {
				t.Fatal(err)
			}
			r.await(fmt.Sprintf("target %d", target), time.Minute, func() bool {
				return counts(r.cluster("mend")) == want && (target == 0 || r.job("mended").Done())
			})
		}
		if s := r.job("mended"); s.State != pool.JobSucceeded || r.output("mended", "stdout.txt") != "well\n" {
			t.Errorf("%+v", s)
		}
	})
}
