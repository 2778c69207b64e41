package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/replay"
)

type conformFlags struct {
	config                                string
	endpoint, authority, tenant, clientID string
	subscription, location, labels        string
	targets                               []string
	output                                string
	documents                             string
	keep                                  bool
	replay                                []string
}

func (m *Main) conformCommand() *cobra.Command {
	var f conformFlags
	cmd := &cobra.Command{
		Use: "conform", Short: "Judge an implementation by the conformance suite, or by recorded traffic", Args: cobra.ArbitraryArgs,
		Long: `Judge an implementation of the Azure Machine Learning of 2018 by the conformance suite.

Where nothing is said, it judges the endpoint that the environment points at: under
"lazulite exec" or after eval "$(lazulite env)", the emulator. Any other endpoint is named by flags,
a configuration file, or AMLC_* variables; the client secret is taken from AMLC_CLIENT_SECRET or
AZURE_CLIENT_SECRET alone.`,
		Example: "  lazulite exec -- lazulite conform\n  lazulite conform --replay recordings/vm/*.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(f.replay) == 0 {
				return fmt.Errorf("%q: conform takes files with --replay alone", args[0])
			}
			f.replay = append(f.replay, args...)
			return m.conform(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file (JSON)")
	fl.StringVar(&f.endpoint, "endpoint", "", "URL of the resource manager")
	fl.StringVar(&f.authority, "authority", "", "URL of the authority")
	fl.StringVar(&f.tenant, "tenant", "", "tenant")
	fl.StringVar(&f.clientID, "client-id", "", "service principal")
	fl.StringVar(&f.subscription, "subscription", "", "subscription")
	fl.StringVar(&f.location, "location", "", "region")
	fl.StringSliceVar(&f.targets, "targets", nil, "compute targets to judge (local, vm); all if empty")
	fl.StringVar(&f.labels, "labels", "", "label filter, such as 'core && !slow'")
	fl.StringVar(&f.documents, "documents", "", "folder of Azure's OpenAPI documents to hold the answers against")
	fl.BoolVar(&f.keep, "keep", false, "delete nothing afterwards")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	fl.StringSliceVar(&f.replay, "replay", nil, "recorded traffic to play instead of the suite (more files may follow)")
	return cmd
}

// conformConfig takes the file, then AMLC_*, then the environment of Azure's own clients, then the flags.
func (m *Main) conformConfig(f conformFlags) (conformance.Config, error) {
	cfg, err := conformance.Load(f.config)
	if err != nil {
		return cfg, err
	}
	for _, p := range []struct {
		to    *string
		flag  string
		names []string
	}{
		{&cfg.Tenant, f.tenant, []string{"AZURE_TENANT_ID"}},
		{&cfg.ClientID, f.clientID, []string{"AZURE_CLIENT_ID"}},
		{&cfg.ClientSecret, "", []string{"AZURE_CLIENT_SECRET"}},
		{&cfg.Subscription, f.subscription, []string{"AZURE_SUBSCRIPTION_ID"}},
		{&cfg.Proxy, "", []string{"HTTPS_PROXY"}},
		{&cfg.CAFile, "", []string{"REQUESTS_CA_BUNDLE"}},
		{&cfg.Endpoint, f.endpoint, nil},
		{&cfg.Authority, f.authority, nil},
		{&cfg.Location, f.location, nil},
		{&cfg.Labels, f.labels, nil},
		{&cfg.Documents, f.documents, nil},
	} {
		for _, name := range p.names {
			if *p.to == "" {
				*p.to = m.Getenv(name)
			}
		}
		if p.flag != "" {
			*p.to = p.flag
		}
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = "https://management.azure.com"
	}
	if len(f.targets) > 0 {
		cfg.Targets = f.targets
	}
	cfg.Keep = cfg.Keep || f.keep
	if cfg.Budget.Cost == 0 && m.local(cfg) {
		cfg.Budget.Cost = conformance.FreeOfCost
	}
	return cfg, nil
}

// local says whether what is judged is on this machine, where nothing is billed.
func (m *Main) local(cfg conformance.Config) bool {
	for _, raw := range []string{cfg.Proxy, cfg.Endpoint} {
		u, err := url.Parse(raw)
		if err == nil && (u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1") {
			return true
		}
	}
	return false
}

func (m *Main) conform(ctx context.Context, f conformFlags) error {
	cfg, err := m.conformConfig(f)
	if err != nil {
		return err
	}
	if cfg.Subscription == "" {
		return errors.New("no subscription: run this under `lazulite exec --`, after eval \"$(lazulite env)\", or name an endpoint (lazulite conform --help)")
	}
	if len(f.replay) > 0 {
		return m.replay(ctx, cfg, f)
	}
	report, err := conformance.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = report.WriteJSON(m.Stdout)
	} else {
		err = report.WriteText(m.Stdout)
	}
	if err == nil && !report.OK() {
		err = exitCode(1)
	}
	return err
}

func (m *Main) replay(ctx context.Context, cfg conformance.Config, f conformFlags) error {
	report, err := replay.Run(ctx, replay.Config{Wire: cfg.Wire(), Subscription: cfg.Subscription, Keep: cfg.Keep}, f.replay)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return report.WriteJSON(m.Stdout)
	}
	return report.WriteText(m.Stdout)
}
