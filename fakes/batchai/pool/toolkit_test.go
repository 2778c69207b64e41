package pool_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/fakes/batchai/pool"
)

// who says as which of the job's processes it runs, and with what.
const who = `import os, sys
e = os.environ.get
print('task', e('AZ_BATCHAI_TASK_INDEX', '-'), 'rank', e('OMPI_COMM_WORLD_RANK', '-'), 'of', e('OMPI_COMM_WORLD_SIZE', '-'), (e('AZ_BATCHAI_PYTORCH_INIT_METHOD') or '-').split(':')[0], *sys.argv[1:], flush=True)
`

// tool stands for the programs that run a configuration file.
const tool = `#!/bin/sh
echo "$(basename "$0") rank ${OMPI_COMM_WORLD_RANK:--} of ${OMPI_COMM_WORLD_SIZE:--} $*" | sed "s|$AZ_BATCHAI_INPUT_SCRIPT|IN|g"
`

// toolkits runs those that neither need a framework here nor have a test of their own in suite.
func toolkits(t *testing.T, r *real, python string) {
	r.script("who.py", who)
	for _, name := range []string{"cntk", "caffe"} {
		r.script(name, tool)
	}
	paths := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if r.engine.Name() == "process" {
		paths = os.Getenv("PATH")
	}
	const script, config = "$AZ_BATCHAI_INPUT_SCRIPT/who.py", "$AZ_BATCHAI_INPUT_SCRIPT/net.cfg"
	ranks := []string{"task - rank 0 of 2 - -a b", "task - rank 1 of 2 - -a b"}
	for _, c := range []struct {
		name    string
		nodes   int
		toolkit pool.Toolkit
		want    map[string][]string // lines of files, in any order
	}{
		{"caffe2", 2, pool.Toolkit{Type: pool.Caffe2, Script: script, Arguments: "-a b"}, map[string][]string{"stdout-0.txt": {"task 0 rank - of - - -a b"}, "stdout-1.txt": {"task 1 rank - of - - -a b"}}},
		{"caffe2-alone", 1, pool.Toolkit{Type: pool.Caffe2, Script: script}, map[string][]string{"stdout.txt": {"task 0 rank - of - -"}}},
		{"chainer", 2, pool.Toolkit{Type: pool.Chainer, Script: script, Arguments: "-a b"}, map[string][]string{"stdout.txt": ranks}},
		{"chainer-alone", 1, pool.Toolkit{Type: pool.Chainer, Script: script}, map[string][]string{"stdout.txt": {"task - rank - of - -"}}},
		{"cntk", 2, pool.Toolkit{Type: pool.CNTK, Script: script, Arguments: "-a b"}, map[string][]string{"stdout.txt": ranks}},
		{"cntk-brainscript", 1, pool.Toolkit{Type: pool.CNTK, ConfigFile: config, Arguments: "x=1"}, map[string][]string{"stdout.txt": {"cntk rank - of - configFile=IN/net.cfg x=1"}}},
		{"cntk-brainscripts", 1, pool.Toolkit{Type: pool.CNTK, ConfigFile: config, Processes: 2}, map[string][]string{"stdout.txt": {"cntk rank 0 of 2 configFile=IN/net.cfg", "cntk rank 1 of 2 configFile=IN/net.cfg"}}},
		{"caffe", 1, pool.Toolkit{Type: pool.Caffe, ConfigFile: config, Arguments: "--gpu all"}, map[string][]string{"stdout.txt": {"caffe rank - of - train --solver=IN/net.cfg --gpu all"}}},
		{"caffe-python", 2, pool.Toolkit{Type: pool.Caffe, Script: script, Arguments: "-a b"}, map[string][]string{"stdout.txt": ranks}},
		{"pytorch-gloo", 2, pool.Toolkit{Type: pool.PyTorch, Script: script, Backend: "Gloo", Processes: 3}, map[string][]string{"stdout-0.txt": {"task 0 rank - of - file"}, "stdout-1.txt": {"task 1 rank - of - file"}, "stdout-2.txt": {"task 2 rank - of - file"}}},
		{"pytorch-mpi", 2, pool.Toolkit{Type: pool.PyTorch, Script: script, Backend: "MPI", Arguments: "-a b"}, map[string][]string{"stdout.txt": ranks}},
		{"horovod", 2, pool.Toolkit{Type: pool.Horovod, Script: script, Arguments: "-a b"}, map[string][]string{"stdout.txt": ranks}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath("mpirun"); err != nil && slices.ContainsFunc(c.want["stdout.txt"], func(s string) bool { return strings.Contains(s, "rank 1") }) && r.engine.Name() == "process" {
				t.Skip(err)
			}
			if c.toolkit.Script != "" {
				c.toolkit.Interpreter = python
			}
			j := task("toolkit-"+c.name, c.nodes, c.toolkit)
			// The programs are found by PATH, on a node of its own or on this host.
			j.Preparation = `mkdir -p $AZ_BATCHAI_JOB_TEMP/bin && for n in cntk caffe; do cp $AZ_BATCHAI_INPUT_SCRIPT/$n $AZ_BATCHAI_JOB_TEMP/bin/ && chmod +x $AZ_BATCHAI_JOB_TEMP/bin/$n; done`
			j.Variables = []pool.Variable{{Name: "PATH", Value: "bin:" + paths}}
			r.submit(j)
			if s := r.done(j.ID); s.State != pool.JobSucceeded || s.ExitCode == nil || *s.ExitCode != 0 {
				t.Fatalf("%+v\n%s\n%s", s, r.output(j.ID, "stderr.txt"), r.output(j.ID, "stderr-0.txt"))
			}
			for file, want := range c.want {
				got := strings.Split(strings.TrimSpace(r.output(j.ID, file)), "\n")
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s: %q, want %q", file, got, want)
				}
			}
		})
	}
}
