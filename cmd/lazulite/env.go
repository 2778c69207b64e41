package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator"
)

func (m *Main) envCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "env", Short: "Print the environment that unmodified clients need", Args: cobra.NoArgs,
		Example: "  eval \"$(lazulite env)\"\n  lazulite env -o dotenv > .env",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := m.find(cmd.Context())
			if err != nil {
				return err
			}
			return printEnv(m.Stdout, in.env(), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "shell", "shell, json, powershell or dotenv")
	return cmd
}

func printEnv(w io.Writer, vars []emulator.Var, format string) error {
	switch format {
	case "json":
		doc := map[string]string{}
		for _, v := range vars {
			doc[v.Name] = v.Value
		}
		b, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, string(b))
		return err
	case "shell":
		for _, v := range vars {
			_, _ = fmt.Fprintf(w, "export %s='%s'\n", v.Name, strings.ReplaceAll(v.Value, "'", `'\''`))
		}
	case "powershell":
		for _, v := range vars {
			_, _ = fmt.Fprintf(w, "$env:%s = '%s'\n", v.Name, strings.ReplaceAll(v.Value, "'", "''"))
		}
	case "dotenv":
		for _, v := range vars {
			_, _ = fmt.Fprintf(w, "%s=\"%s\"\n", v.Name, strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(v.Value))
		}
	default:
		return fmt.Errorf("--output %q: it is shell, json, powershell or dotenv", format)
	}
	return nil
}

func (m *Main) execCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use: "exec [FLAGS] -- COMMAND [ARG...]", Short: "Run a command with that environment, on an ephemeral emulator if none is up",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.withEnv(cmd.Context(), f, func(ctx context.Context, vars []emulator.Var) error {
				return m.child(ctx, vars, args)
			})
		},
	}
	f.life(cmd.Flags(), "process")
	return cmd
}

// withEnv calls do with the environment of the running emulator, or of one that
// lives for the call, which alone the flags are of.
func (m *Main) withEnv(ctx context.Context, f upFlags, do func(context.Context, []emulator.Var) error) error {
	in, err := m.find(ctx)
	if err == nil {
		return do(ctx, in.env())
	}
	if !errors.Is(err, errDown) {
		return err
	}
	cfg, err := m.config(ctx, f, slog.New(slog.NewTextHandler(m.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	return open(ctx, cfg, func(e *emulator.Emulator) error {
		// The conformance suite can't wait until a token has expired, and has no other tenant.
		expired, foreign, err := e.RefusedTokens(ctx)
		if err != nil {
			return err
		}
		return do(ctx, append(e.Env(), emulator.Var{Name: "AMLC_EXPIRED_TOKEN", Value: expired}, emulator.Var{Name: "AMLC_FOREIGN_TOKEN", Value: foreign}))
	})
}

// child runs a command in the environment; signals of the terminal reach it by themselves, SIGTERM is passed on.
func (m *Main) child(ctx context.Context, vars []emulator.Var, args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = m.Stdin, m.Stdout, m.Stderr
	cmd.Env = append(m.Environ(), pairs(vars)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case <-term:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case err := <-done:
			return err
		}
	}
}

func pairs(vars []emulator.Var) []string {
	var out []string
	for _, v := range vars {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// machineEnv is what a virtual machine on this host's processes has of it:
// where programs are, and how packages are fetched here.
func (m *Main) machineEnv() []string {
	var env []string
	for _, v := range m.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case name == "PATH", name == "PYENV_ROOT", name == "LANG", strings.HasPrefix(name, "PIP_"), strings.HasPrefix(name, "UV_"):
			env = append(env, v)
		}
	}
	return env
}
