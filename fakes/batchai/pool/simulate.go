package pool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"lazulite.dev/emulator/engine"
)

// simulate runs the job on the engine that runs nothing: once, on its master, as
// the job's own LAZULITE_SIM_* variables say. What it prints is on its volumes,
// if its output is to be there.
func (j *job) simulate(ctx context.Context, master *node) outcome {
	if err := j.begun(ctx, nil); err != nil {
		return asOutcome(ctx, err)
	}
	var out bytes.Buffer
	exit, err := master.simulate(ctx, j.task, engine.Exec{Command: []string{"job"}, Env: variables(j.spec.Variables), Stdout: &out})
	switch {
	case err != nil:
		return asOutcome(ctx, errors.Join(err, ctx.Err()))
	case exit.Signal != "" && ctx.Err() != nil:
		return outcome{} // it went with its node, which is why it was told to end
	}
	if out.Len() > 0 {
		if err := j.keepSimulated(ctx, out.Bytes()); err != nil {
			return asOutcome(ctx, err)
		}
	}
	return outcome{exit: &exit.Code}
}

func (j *job) keepSimulated(ctx context.Context, data []byte) error {
	p := j.cluster.pool
	shared, err := j.cluster.shared.open(ctx, p, j.cluster.spec.Volumes)
	if err != nil {
		return mountError(err)
	}
	own, err := p.mount(ctx, j.spec.Volumes)
	if err != nil {
		return mountError(err)
	}
	defer unmount(context.WithoutCancel(ctx), own, p.cfg.Logger)
	f := folders{root: "/", host: filepath.Join(j.cluster.dir, "simulated"), shared: shared, own: own, job: j.spec.ID}
	dir := f.onHost(j.spec.stdOutErr())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "stdout.txt"), data, 0o644); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "stderr.txt"), nil, 0o644), flush(ctx, shared))
}
