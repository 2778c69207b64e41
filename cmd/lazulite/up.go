package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

// defaultListen is a fixed port, so that what `env` printed once holds after a restart.
const defaultListen = "127.0.0.1:18018"

const nullSignal = syscall.Signal(0)

type upFlags struct {
	ephemeral, offline, detach, verbose bool
	listen, engine, lifecycle, faults   string
	dockerHost, imageMap, gpus          string
	also                                []string
	seed                                int64
	readyFD                             int
}

func (m *Main) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the emulator",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.detach {
				return m.detach(cmd.Context(), f)
			}
			return m.up(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.ephemeral, "ephemeral", false, "keep nothing: state in a temporary folder that goes with the emulator")
	fl.StringVar(&f.listen, "listen", defaultListen, "host:port of the one port that speaks proxy, TLS and management")
	fl.StringSliceVar(&f.also, "also", nil, "more host:port to listen on, such as 127.0.0.1:443")
	f.life(fl, "auto")
	fl.BoolVar(&f.detach, "detach", false, "return when the first request would be answered")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "log every request")
	fl.IntVar(&f.readyFD, "ready-fd", 0, "file descriptor to tell readiness on")
	_ = fl.MarkHidden("ready-fd")
	return cmd
}

// life are the flags of every emulator, long-lived or not.
func (f *upFlags) life(fl *pflag.FlagSet, engine string) {
	fl.StringVar(&f.engine, "engine", engine, "what machines run on: auto, process, docker or simulated")
	fl.StringVar(&f.dockerHost, "docker-host", "", "where Docker listens (default: DOCKER_HOST, then Docker's own sockets)")
	fl.StringVar(&f.imageMap, "map", "", "JSON file of image names and the images that stand for them (see lazulite images)")
	fl.StringVar(&f.gpus, "gpus", "auto", "GPUs of the sizes that have some: auto (this machine's), none, simulated (shown, they compute nothing), or so many: simulated=K80:4,V100:1")
	fl.StringVar(&f.lifecycle, "lifecycle", "fast", "how long things take: fast (no delays), real (as Azure did) or chaos")
	fl.StringVar(&f.faults, "faults", "", "unkind: answer as Azure may and seldom does (shuffled and unknown JSON members, late ends, 429, missing headers), to test clients")
	fl.Int64Var(&f.seed, "seed", 0, "seed of all randomness (0: from the clock, and printed)")
	fl.BoolVar(&f.offline, "offline", false, "refuse every host that is not emulated")
}

// config of an emulator by its flags.
func (m *Main) config(ctx context.Context, f upFlags, logger *slog.Logger) (emulator.Config, error) {
	standIn, err := m.standIn(f.imageMap)
	if err != nil {
		return emulator.Config{}, err
	}
	host, err := m.hardware(ctx, f.gpus)
	if err != nil {
		return emulator.Config{}, err
	}
	return emulator.Config{Listen: f.listen, Also: f.also, Seed: f.seed, Lifecycle: f.lifecycle, Faults: f.faults, Offline: f.offline, Environment: m.machineEnv(), Logger: logger,
		StandIn: standIn, Hardware: host, Spark: m.sparkDir(), SparkImage: docker.SparkImage,
		MakeEngine: func(dir string) (engine.Engine, error) { return m.pickEngine(ctx, f, logger, dir) }}, nil
}

func (m *Main) up(ctx context.Context, f upFlags) (err error) {
	tell := func(string) {}
	if f.readyFD > 0 {
		pipe := os.NewFile(uintptr(f.readyFD), "ready")
		tell = func(line string) { _, _ = fmt.Fprintln(pipe, line); _ = pipe.Close() }
		defer func() {
			if err != nil {
				tell("error " + strings.ReplaceAll(err.Error(), "\n", " "))
			}
		}()
	}
	// A server that mostly sleeps should not hold twice what it needs.
	debug.SetGCPercent(50)
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: level}))
	cfg, err := m.config(ctx, f, logger)
	if err != nil {
		return err
	}
	if !f.ephemeral {
		cfg.Dir = m.dir()
	}
	return open(ctx, cfg, func(e *emulator.Emulator) error {
		forget, err := m.announce(e.Status())
		if err != nil {
			return err
		}
		defer forget()
		tell("ready " + e.Addr())
		st := e.Status()
		_, _ = fmt.Fprintf(m.Stdout, "lazulite %s is up at http://%s (engine %s, lifecycle %s, seed %d)\nstate in %s\n",
			st.Version, st.Address, st.Engine, st.Lifecycle, st.Seed, st.Dir)
		select {
		case <-ctx.Done():
		case <-e.Stopped():
		}
		return nil
	})
}

// open has an emulator open while do goes on, and closes it whatever do says.
func open(ctx context.Context, cfg emulator.Config, do func(*emulator.Emulator) error) (err error) {
	e, err := emulator.New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		err = errors.Join(err, e.Close(ctx))
	}()
	if err := e.Open(ctx); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w\nsomething else listens there (another lazulite has another --data): name another address by --listen, or port 0 for any", err)
		}
		return err
	}
	return do(e)
}

// detach starts the same command in a session of its own and waits for its word.
func (m *Main) detach(ctx context.Context, f upFlags) error {
	if in, err := m.find(ctx); err == nil {
		return fmt.Errorf("lazulite is up already at http://%s (pid %d)", in.Status.Address, in.Status.PID)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir(), 0o700); err != nil {
		return err
	}
	logPath := filepath.Join(m.dir(), "lazulite.log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	args := []string{"up", "--data", m.dir(), "--listen", f.listen, "--engine", f.engine, "--docker-host", f.dockerHost, "--map", f.imageMap, "--gpus", f.gpus, "--lifecycle", f.lifecycle, "--faults", f.faults,
		"--seed", fmt.Sprint(f.seed), "--ready-fd", "3", fmt.Sprintf("--ephemeral=%t", f.ephemeral), fmt.Sprintf("--offline=%t", f.offline), fmt.Sprintf("--verbose=%t", f.verbose)}
	for _, a := range f.also {
		args = append(args, "--also", a)
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = logFile, logFile, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word != "ready" {
		if rest == "" {
			rest = "it ended at once; see " + logPath
		}
		_ = cmd.Wait()
		return errors.New(rest)
	}
	_, _ = fmt.Fprintf(m.Stdout, "lazulite is up at http://%s (pid %d), log in %s\n", rest, cmd.Process.Pid, logPath)
	_, _ = fmt.Fprintln(m.Stdout, "next: eval \"$(lazulite env)\", or lazulite exec -- COMMAND")
	return cmd.Process.Release()
}
