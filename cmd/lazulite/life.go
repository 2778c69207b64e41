package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator"
)

func (m *Main) downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the emulator; its state stays", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := m.find(cmd.Context())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*time.Second)
			defer cancel()
			if err := in.stop(ctx); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(m.Stdout, "lazulite is down")
			return nil
		},
	}
}

func (m *Main) preemptCommand() *cobra.Command {
	return &cobra.Command{
		Use: "preempt CLUSTER NODE", Short: "Take a low-priority node of a Batch AI cluster away, as Azure did", Args: cobra.ExactArgs(2),
		Long: "Take a low-priority node of a Batch AI cluster away: its job is queued again, and another node comes in its place.\n" +
			"CLUSTER is the cluster's resource id, and NODE a node's id, as `az batchai cluster node list` shows it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := m.find(cmd.Context())
			if err != nil {
				return err
			}
			return in.ask(cmd.Context(), "batchai/preempt", map[string]string{"cluster": args[0], "node": args[1]})
		},
	}
}

func (m *Main) statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Tell whether the emulator is up, and where", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := m.find(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				b, err := json.MarshalIndent(in.Status, "", "  ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(m.Stdout, string(b))
				return err
			}
			w := tabwriter.NewWriter(m.Stdout, 0, 4, 2, ' ', 0)
			st := in.Status
			for _, row := range [][2]any{{"address", "http://" + st.Address}, {"pid", st.PID}, {"state", st.Dir}, {"engine", st.Engine},
				{"lifecycle", st.Lifecycle}, {"seed", st.Seed}, {"offline", st.Offline}, {"subscription", st.Subscription}, {"tenant", st.Tenant}, {"certificate", st.CAFile}} {
				_, _ = fmt.Fprintf(w, "%s\t%v\n", row[0], row[1])
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (m *Main) resetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reset", Short: "Forget all state; credentials and the certificate authority stay", Args: cobra.NoArgs,
		Long: "Forget all state. The emulator must be down: what it holds is removed from its data folder.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in, err := m.find(cmd.Context()); err == nil {
				return fmt.Errorf("lazulite is up at http://%s: `lazulite down` first", in.Status.Address)
			} else if !errors.Is(err, errDown) {
				return err
			}
			if err := emulator.Reset(m.dir()); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(m.Stdout, "the state in", m.dir(), "is gone")
			return nil
		},
	}
}
