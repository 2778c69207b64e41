package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	journal, credential                   string
	mode                                  string
	budget                                float64
	time                                  time.Duration
	dryRun                                bool
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
AZURE_CLIENT_SECRET alone, and without one (or with --credential default) tokens come as azidentity's
default credential finds them: environment, workload identity, managed identity, az login.

Against real Azure nothing is spent unasked: what costs something is left out unless --budget allows it,
--dry-run tells what would be created and for how much, everything created is deleted again, and what a
killed run left is deleted by "lazulite conform sweep".`,
		Example: "  lazulite exec -- lazulite conform\n  lazulite conform --replay recordings/vm/*.json\n  lazulite conform --endpoint https://management.azure.com --dry-run --budget 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.mode != "live" && f.mode != "replay" {
				return fmt.Errorf("--mode %q: it is live or replay", f.mode)
			}
			if !slices.Contains(conformance.Formats(), f.output) {
				return fmt.Errorf("--output %q: it is one of %s", f.output, strings.Join(conformance.Formats(), ", "))
			}
			if f.mode == "replay" && len(f.replay)+len(args) == 0 {
				return errors.New("--mode replay: name the recordings to play, such as recordings/*.json")
			}
			if len(args) > 0 && len(f.replay) == 0 && f.mode == "live" {
				return fmt.Errorf("%q: conform takes files with --replay alone", args[0])
			}
			f.replay = append(f.replay, args...)
			return m.conform(cmd.Context(), f)
		},
	}
	fl := cmd.PersistentFlags()
	fl.StringVar(&f.config, "config", "", "configuration file (JSON)")
	fl.StringVar(&f.endpoint, "endpoint", "", "URL of the resource manager")
	fl.StringVar(&f.authority, "authority", "", "URL of the authority")
	fl.StringVar(&f.tenant, "tenant", "", "tenant")
	fl.StringVar(&f.clientID, "client-id", "", "service principal")
	fl.StringVar(&f.subscription, "subscription", "", "subscription")
	fl.StringVar(&f.location, "location", "", "region")
	fl.StringVar(&f.journal, "journal", "", "file that names what was created until it is deleted (default: one for each subscription, in the cache folder)")
	fl.StringVar(&f.credential, "credential", "", "secret or default; as the variables say if empty")
	fl = cmd.Flags()
	fl.StringVar(&f.mode, "mode", "live", "live: check the requirements; replay: play recorded traffic")
	fl.Float64Var(&f.budget, "budget", 0, "US dollars that may be spent on Azure, by the catalogue's estimates (an endpoint on this machine is free)")
	fl.DurationVar(&f.time, "time", 0, "time for the whole run (default 1h)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "tell what would be checked and created, and send nothing")
	fl.StringSliceVar(&f.targets, "targets", nil, "compute targets to judge (local, vm, dsvm, batchai, aci, hdinsight); all if empty")
	fl.StringVar(&f.labels, "labels", "", "label filter, such as 'core && !slow'")
	fl.StringVar(&f.documents, "documents", "", "folder of Azure's OpenAPI documents to hold the answers against")
	fl.BoolVar(&f.keep, "keep", false, "delete nothing afterwards")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json, junit or html")
	fl.StringSliceVar(&f.replay, "replay", nil, "recorded traffic to play instead of the suite (more files may follow)")
	cmd.AddCommand(&cobra.Command{
		Use: "sweep", Short: "Delete what earlier runs created and, killed, could not delete", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.sweep(cmd.Context(), f) },
	})
	return cmd
}

// sweep takes the flags' value when it is run, not when it was declared.
func (m *Main) sweep(ctx context.Context, f conformFlags) error {
	cfg, err := m.conformConfig(f)
	if err != nil {
		return err
	}
	if cfg.Subscription == "" {
		return errNoSubscription()
	}
	gone, err := conformance.Sweep(ctx, cfg)
	for _, path := range gone {
		fmt.Fprintln(m.Stdout, "deleted", path)
	}
	if err == nil {
		fmt.Fprintf(m.Stdout, "%d deleted; nothing of earlier runs is left at %s\n", len(gone), cfg.Endpoint)
	}
	return err
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
	if f.time > 0 {
		cfg.Budget.Time = f.time
	}
	if f.budget > 0 {
		cfg.Budget.Cost = f.budget
	}
	if f.journal != "" {
		cfg.Journal = f.journal
	}
	if cfg.Journal == "" && cfg.Subscription != "" {
		cfg.Journal = filepath.Join(m.cacheDir(), "conform", cfg.Subscription+".jsonl")
	}
	switch f.credential {
	case "secret":
	case "default":
		cfg.ClientSecret = ""
	case "":
	default:
		return cfg, fmt.Errorf("--credential %q: it is secret or default", f.credential)
	}
	if cfg.ClientSecret == "" && f.credential != "secret" {
		if cfg.Token, err = defaultCredential(cfg.Tenant); err != nil {
			return cfg, err
		}
	}
	if cfg.Budget.Cost == 0 && m.local(cfg) {
		cfg.Budget.Cost = conformance.FreeOfCost
	}
	return cfg, nil
}

func errNoSubscription() error {
	return errors.New("no subscription: run this under `lazulite exec --`, after eval \"$(lazulite env)\", or name an endpoint (lazulite conform --help)")
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
		return errNoSubscription()
	}
	if f.dryRun {
		plan, err := conformance.Plan(cfg)
		if err != nil {
			return err
		}
		return conformance.WritePlan(m.Stdout, plan)
	}
	if len(f.replay) > 0 || f.mode == "replay" {
		return m.replay(ctx, cfg, f)
	}
	report, err := conformance.Run(ctx, cfg)
	if err != nil {
		return err
	}
	err = report.Write(m.Stdout, f.output)
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
	switch f.output {
	case "json":
		err = report.WriteJSON(m.Stdout)
	case "text":
		err = report.WriteText(m.Stdout)
	default:
		err = report.Tree().Write(m.Stdout, f.output)
	}
	if err == nil && !report.OK() {
		err = exitCode(1)
	}
	return err
}
