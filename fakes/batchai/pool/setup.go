package pool

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"lazulite.dev/emulator/engine"
)

// prepare runs the cluster's setup on the node. What it returns makes it unusable.
func (n *node) prepare(ctx context.Context) []Error {
	c := n.cluster
	p := c.pool
	kind, err := p.engineKind(ctx)
	if err != nil {
		return []Error{{Code: "NodeSetupFailed", Message: err.Error()}}
	}
	if kind != kindSimulated {
		if _, err := c.shared.open(ctx, p, c.spec.Volumes); err != nil {
			return []Error{mountError(err)}
		}
	}
	s := c.spec.Setup
	if s == nil {
		return nil
	}
	code, err := n.setUp(ctx, kind, s)
	switch {
	case err != nil:
		return []Error{{Code: "NodeSetupFailed", Message: fmt.Sprintf("The setup task could not be run on node %s: %v.", n.rec.ID, err)}}
	case code != 0:
		return []Error{{Code: "NodeSetupFailed", Message: "Setup task failed with non-zero exit code", Details: []Detail{{"NodeId", n.rec.ID}, {"ExitCode", fmt.Sprint(code)}}}}
	}
	return nil
}

// setUp runs the setup task, as root where the engine has one, under a shell.
func (n *node) setUp(ctx context.Context, kind string, s *Setup) (int, error) {
	c := n.cluster
	p := c.pool
	x := engine.Exec{Env: variables(s.Variables), User: "root"}
	if kind == kindSimulated {
		x.Command = []string{s.CommandLine}
		exit, err := n.simulate(ctx, n.task, x)
		return exit.Code, err
	}
	root := n.seen(kind)
	folders := map[string]string{"AZ_BATCHAI_MOUNT_ROOT": path.Join(root, "mounts"), "AZ_BATCHAI_JOB_TEMP_DIR": path.Join(root, "jobs"), "AZ_BATCH_NODE_ROOT_DIR": root, "AZ_BATCH_NODE_SHARED_DIR": root}
	out := filepath.Join(n.root(), "setup")
	if s.StdOutErrPathPrefix != "" {
		prefix := os.Expand(s.StdOutErrPathPrefix, func(name string) string {
			if name == "AZ_BATCHAI_MOUNT_ROOT" {
				return "/"
			}
			return ""
		})
		out = below(c.shared.list(), filepath.Join(n.root(), "mounts"), path.Join(prefix, s.Suffix))
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return 0, err
	}
	files := make([]*os.File, 2)
	for i, name := range []string{"stdout", "stderr"} {
		f, err := os.OpenFile(filepath.Join(out, name+"-"+n.rec.ID+".txt"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		files[i] = f
	}
	x.Stdout, x.Stderr = files[0], files[1]
	for name, value := range folders {
		x.Env = append(x.Env, name+"="+value)
	}
	x.Env = append(x.Env, "AZ_BATCH_NODE_ID="+n.rec.ID, "AZ_BATCH_POOL_ID="+c.spec.ID, "AZ_BATCHAI_NUM_GPUS="+fmt.Sprint(len(n.limits.GPUs)))
	x.Command = []string{"/bin/sh", "-c", `shell=/bin/bash; [ -x $shell ] || shell=/bin/sh; exec $shell -c "$1"`, "setup", s.CommandLine}
	if kind == kindDocker {
		x.Dir, x.Env = "/root", append(x.Env, "HOME=/root")
	}
	x.Env = append(append([]string{}, n.env...), x.Env...)
	exit, err := n.container.(engine.Execer).Exec(ctx, x)
	if err := flush(ctx, c.shared.list()); err != nil {
		p.cfg.Logger.Warn("a volume is not written back", "cluster", c.spec.ID, "error", err)
	}
	return exit.Code, err
}

func variables(all []Variable) []string {
	var out []string
	for _, v := range all {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// simulate runs a command of the simulated engine: all that it waits for is the Clock.
func (n *node) simulate(ctx context.Context, t *task, x engine.Exec) (engine.Exit, error) {
	a := &n.cluster.pool.activity
	timers := 0
	for _, v := range x.Env {
		if len(v) > len(simDuration) && v[:len(simDuration)] == simDuration && v != simDuration+"0" && v != simDuration+"0s" {
			timers = 1
		}
	}
	if timers > 0 {
		a.wait(t, timers)
		defer a.awake(t)
	}
	return n.container.(engine.Execer).Exec(ctx, x)
}

// simDuration is the variable by which a simulated command is told how long it runs.
const simDuration = "LAZULITE_SIM_DURATION="
