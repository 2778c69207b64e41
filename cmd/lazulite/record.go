package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"lazulite.dev/conformance/record"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/front"
)

// recorded are the names of Azure whose traffic is recorded; what is not among them is tunnelled unseen.
var recorded = []string{"management.azure.com", "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net",
	"**.azureml.net", "**.azureml.ms", "**.azurehdinsight.net", "**.azurecontainer.io"}

func (m *Main) recordCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "record --file FILE -- COMMAND [ARG...]", Short: "Record what a command says to real Azure, without secrets, for conform --replay",
		Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
		Long: `Run a command against the real Azure through a proxy that writes what is said as VCR JSON.

The command gets HTTPS_PROXY and a certificate bundle, and its own login as it is. Tokens, keys, passwords
and signatures are taken out, subscription and tenant (AZURE_SUBSCRIPTION_ID, AZURE_TENANT_ID, AZURE_CLIENT_ID)
become zeros. Read a recording before you give it away.`,
		Example: "  lazulite record --file create.json -- az vm create -g mine -n vm1 --image UbuntuLTS",
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return errors.New("--file: name the recording to write")
			}
			return m.record(cmd.Context(), file, args)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "recording to write")
	return cmd
}

func (m *Main) record(ctx context.Context, file string, args []string) (err error) {
	r, err := record.New(record.Config{File: file,
		Zero:    []string{m.Getenv("AZURE_SUBSCRIPTION_ID"), m.Getenv("AZURE_TENANT_ID"), m.Getenv("AZURE_CLIENT_ID")},
		Secrets: []string{m.Getenv("AZURE_CLIENT_SECRET")}})
	if err != nil {
		return err
	}
	var hosts []front.Host
	for _, pattern := range recorded {
		hosts = append(hosts, front.Host{Pattern: pattern, Handler: r})
	}
	door, err := front.New(front.Config{Hosts: hosts, Upstream: func(u *url.URL) (*url.URL, error) {
		return http.ProxyFromEnvironment(&http.Request{URL: u})
	}})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, door.Close(ctx))
	}()
	if err := door.Listen(ctx); err != nil {
		return err
	}
	if err := door.Open(ctx); err != nil {
		return err
	}
	proxy := "http://" + door.Addr()
	vars := []emulator.Var{{Name: "HTTPS_PROXY", Value: proxy}, {Name: "https_proxy", Value: proxy},
		{Name: "REQUESTS_CA_BUNDLE", Value: door.BundleFile()}, {Name: "SSL_CERT_FILE", Value: door.BundleFile()}, {Name: "CURL_CA_BUNDLE", Value: door.BundleFile()}}
	runErr := m.child(ctx, vars, args)
	n, writeErr := r.Close()
	_, _ = fmt.Fprintf(m.Stderr, "lazulite: %d exchanges in %s\n", n, file)
	return errors.Join(runErr, writeErr)
}
