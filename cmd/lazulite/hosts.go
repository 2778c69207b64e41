package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator/front"
)

// hostNames are the names that every client asks for; a storage account or a
// workspace adds its own (--name).
var hostNames = []string{"management.azure.com", "login.microsoftonline.com", "login.windows.net"}

func (m *Main) hostsCommand() *cobra.Command {
	var ip string
	var regions, accounts, names []string
	cmd := &cobra.Command{
		Use: "hosts", Short: "Print hosts-file lines that resolve Azure's names to the emulator", Args: cobra.NoArgs,
		Long: `Print the lines that a hosts file (or a container's --add-host) needs so that Azure's names
resolve to the emulator, for clients that can use no proxy. They come to port 443, so start the
emulator with --also ADDRESS:443. If it is up, the SSH names of its HDInsight clusters come too.`,
		Example: "  lazulite hosts --region eastus2 --account mystorage | sudo tee -a /etc/hosts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := append([]string{}, hostNames...)
			for _, r := range regions {
				all = append(all, r+".experiments.azureml.net", r+".modelmanagement.azureml.net")
			}
			for _, a := range accounts {
				all = append(all, a+".blob.core.windows.net")
			}
			lines, err := front.HostsLines(ip, append(all, names...))
			if err != nil {
				return err
			}
			if in, down := m.find(cmd.Context()); down == nil {
				for _, name := range slices.Sorted(maps.Keys(in.Status.Hosts)) {
					lines += in.Status.Hosts[name] + " " + name + "\n"
				}
			}
			_, err = fmt.Fprint(m.Stdout, lines)
			return err
		},
	}
	cmd.Flags().StringVar(&ip, "ip", "127.0.0.1", "address that the names resolve to")
	cmd.Flags().StringSliceVar(&regions, "region", []string{"eastus2"}, "regions of workspaces")
	cmd.Flags().StringSliceVar(&accounts, "account", nil, "storage accounts")
	cmd.Flags().StringSliceVar(&names, "name", nil, "more names")
	return cmd
}
