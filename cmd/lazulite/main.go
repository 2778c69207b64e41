// Command lazulite is a local Azure Machine Learning of October 2018.
//
// It is wiring only: flags in, packages called, words out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lazulite.dev/emulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	m := &Main{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Environ: os.Environ}
	code := m.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// Main is the program with its surroundings, so that a test can run it.
type Main struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string

	data string // --data
}

// Run executes one command line and returns the exit code.
func (m *Main) Run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:   "lazulite",
		Short: "A local Azure Machine Learning of October 2018 in which training really runs",
		Long: `lazulite emulates the Azure Machine Learning workspace, its run service and its compute
targets, for unmodified clients: the azureml SDK, az and the Azure SDKs. Nothing leaves this machine,
and no account is needed.

  lazulite up --detach            start it
  lazulite exec -- python run.py  run a program against it
  lazulite demo                   see it train`,
		SilenceUsage: true, SilenceErrors: true, Version: emulator.Version,
	}
	root.SetArgs(args)
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	root.PersistentFlags().StringVar(&m.data, "data", "", "data folder (default: "+defaultDir(m.Getenv)+")")
	root.AddCommand(m.upCommand(), m.downCommand(), m.statusCommand(), m.resetCommand(), m.preemptCommand(), m.envCommand(), m.execCommand(),
		m.doctorCommand(), m.demoCommand(), m.conformCommand(), m.recordCommand(), m.hostsCommand(), m.imagesCommand(), m.sparkCommand())
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return m.flagsFromEnv(cmd.Flags()) }
	err := root.ExecuteContext(ctx)
	var exit *exec.ExitError
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	default:
		_, _ = fmt.Fprintln(m.Stderr, "lazulite:", err)
		return 1
	}
}

// exitCode ends the program with a code and no words of its own.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// flagsFromEnv gives every flag that the command line leaves out the value of
// its variable: --dry-run is LAZULITE_DRY_RUN.
func (m *Main) flagsFromEnv(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "LAZULITE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := m.Getenv(name); v != "" && !f.Changed {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}
