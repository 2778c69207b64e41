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
	proxy, caFile                         string
	documents                             string
	journal, credential                   string
	mode                                  string
	budget                                float64
	time                                  time.Duration
	dryRun                                bool
	keep                                  bool
	replay                                []string
	replace                               map[string]string
	operation                             time.Duration
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

An endpoint on this machine (localhost, 127.0.0.1) answers for Azure's names too, as no other could:
the hosts that it leads to, such as a workspace's or a storage account's, are reached by CONNECT through
it, never at Azure. --proxy names another way, or none. --ca-file names its certificate authority.

Against real Azure nothing is spent unasked: what costs something is left out unless --budget allows it,
--dry-run tells what would be created and for how much, everything created is deleted again, and what a
killed run left is deleted by "lazulite conform sweep".

The exit code is 0 if it conforms, 1 if it does not, and 2 if it could not be judged: nobody answers, a
flag is wrong, or a requirement's check failed by its own fault.`,
		Example: "  lazulite exec -- lazulite conform\n  lazulite conform --replay recordings/vm/*.json\n  lazulite conform --endpoint https://management.azure.com --dry-run --budget 2\n" +
			"  lazulite conform --endpoint https://localhost:18018 --authority https://localhost:18018 --ca-file ca.pem --tenant T --client-id C --subscription S",
		RunE: func(cmd *cobra.Command, args []string) error {
			err := f.take(args)
			if err == nil {
				err = m.conform(cmd.Context(), f)
			}
			return m.unjudged(err)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return m.unjudged(err) })
	fl := cmd.PersistentFlags()
	fl.StringVar(&f.config, "config", "", "configuration file (JSON)")
	fl.StringVar(&f.endpoint, "endpoint", "", "URL of the resource manager")
	fl.StringVar(&f.authority, "authority", "", "URL of the authority")
	fl.StringVar(&f.tenant, "tenant", "", "tenant")
	fl.StringVar(&f.clientID, "client-id", "", "service principal")
	fl.StringVar(&f.subscription, "subscription", "", "subscription")
	fl.StringVar(&f.location, "location", "", "region")
	fl.StringVar(&f.proxy, "proxy", "", "how hosts other than this machine are reached: URL of a CONNECT proxy, env (HTTPS_PROXY), or none (default: an endpoint on this machine itself, otherwise env)")
	fl.StringVar(&f.caFile, "ca-file", "", "certificates (PEM) to trust beside the system's")
	fl.StringVar(&f.journal, "journal", "", "file that names what was created until it is deleted (default: one for each subscription, in the cache folder)")
	fl.StringVar(&f.credential, "credential", "", "secret or default; as the variables say if empty")
	fl = cmd.Flags()
	fl.StringVar(&f.mode, "mode", "live", "live: check the requirements; replay: play recorded traffic")
	fl.Float64Var(&f.budget, "budget", 0, "US dollars that may be spent on Azure, by the catalogue's estimates (an endpoint on this machine is free)")
	fl.DurationVar(&f.time, "time", 0, "time for the whole run (default 1h)")
	fl.DurationVar(&f.operation, "operation", 0, "time for one long-running operation, or one run (default 10m; 2m for --replay)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "tell what would be checked and created, and send nothing")
	fl.StringSliceVar(&f.targets, "targets", nil, "compute targets to judge (local, vm, dsvm, batchai, aci, hdinsight); all if empty")
	fl.StringVar(&f.labels, "labels", "", "label filter, such as 'core && !slow'")
	fl.StringVar(&f.documents, "documents", "", "folder of Azure's OpenAPI documents to hold the answers against")
	fl.BoolVar(&f.keep, "keep", false, "delete nothing afterwards")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json, junit or html")
	fl.StringSliceVar(&f.replay, "replay", nil, "recorded traffic to play instead of the suite (more files may follow)")
	fl.StringToStringVar(&f.replace, "replace", nil, "texts to replace in the recordings (OLD=NEW), for what they name and is not to be had here, such as a repository")
	cmd.AddCommand(&cobra.Command{
		Use: "sweep", Short: "Delete what earlier runs created and, killed, could not delete", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.unjudged(m.sweep(cmd.Context(), f)) },
	})
	return cmd
}

// take checks what the flags say together, and takes the arguments, which are recordings.
func (f *conformFlags) take(args []string) error {
	switch {
	case f.mode != "live" && f.mode != "replay":
		return fmt.Errorf("--mode %q: it is live or replay", f.mode)
	case !slices.Contains(conformance.Formats(), f.output):
		return fmt.Errorf("--output %q: it is one of %s", f.output, strings.Join(conformance.Formats(), ", "))
	case f.mode == "replay" && len(f.replay)+len(args) == 0:
		return errors.New("--mode replay: name the recordings to play, such as recordings/*.json")
	case len(args) > 0 && len(f.replay) == 0 && f.mode == "live":
		return fmt.Errorf("%q: conform takes files with --replay alone", args[0])
	}
	f.replay = append(f.replay, args...)
	return nil
}

// conform's exit codes.
const (
	exitFails    exitCode = 1
	exitUnjudged exitCode = 2
)

// unjudged tells an error and makes it the code of what could not be judged; a verdict's code stays.
func (m *Main) unjudged(err error) error {
	var verdict exitCode
	if err == nil || errors.As(err, &verdict) {
		return err
	}
	_, _ = fmt.Fprintln(m.Stderr, "lazulite:", err)
	return exitUnjudged
}

// verdict is the exit code of a report.
func verdict(rep conformance.Report) error {
	failed := slices.ContainsFunc(rep.Results, func(r conformance.Result) bool {
		return r.Status == conformance.Fail && r.Level == conformance.Must
	})
	switch {
	case rep.OK():
		return nil
	case !failed && rep.Count(conformance.Errored) > 0:
		return exitUnjudged
	}
	return exitFails
}

// sweep takes the flags' value when it is run, not when it was declared.
func (m *Main) sweep(ctx context.Context, f conformFlags) error {
	cfg, err := m.conformConfig(ctx, f)
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
func (m *Main) conformConfig(ctx context.Context, f conformFlags) (conformance.Config, error) {
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
		{&cfg.CAFile, f.caFile, []string{"REQUESTS_CA_BUNDLE"}},
		{&cfg.Proxy, f.proxy, nil},
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
	cfg.Proxy = m.proxy(cfg)
	if len(f.targets) > 0 {
		cfg.Targets = f.targets
	}
	cfg.Keep = cfg.Keep || f.keep
	if f.time > 0 {
		cfg.Budget.Time = f.time
	}
	if f.operation > 0 {
		cfg.Budget.Operation = f.operation
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
	if cfg.Budget.Cost == 0 && free(ctx, cfg) {
		cfg.Budget.Cost = conformance.FreeOfCost
	}
	return cfg, nil
}

func errNoSubscription() error {
	return errors.New("no subscription: run this under `lazulite exec --`, after eval \"$(lazulite env)\", or name an endpoint (lazulite conform --help)")
}

// proxy is what cfg says of it. An endpoint on this machine is its own: the
// names that it leads to are Azure's, and must not be looked for there.
func (m *Main) proxy(cfg conformance.Config) string {
	switch {
	case cfg.Proxy == "none":
		return ""
	case cfg.Proxy != "" && cfg.Proxy != "env":
		return cfg.Proxy
	case cfg.Proxy == "" && onThisMachine(cfg.Endpoint):
		u, _ := url.Parse(cfg.Endpoint)
		return "http://" + u.Host
	}
	return m.Getenv("HTTPS_PROXY")
}

// onThisMachine says whether a URL's host is a loopback one.
func onThisMachine(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1")
}

// free says whether what is judged bills nothing: it is on this machine, or
// behind a lazulite. Any other proxy, on this machine or not, may lead to Azure.
func free(ctx context.Context, cfg conformance.Config) bool {
	if onThisMachine(cfg.Endpoint) {
		return true
	}
	u, err := url.Parse(cfg.Proxy)
	if err != nil || u.Host == "" {
		return false
	}
	_, err = statusAt(ctx, u.Host)
	return err == nil
}

func (m *Main) conform(ctx context.Context, f conformFlags) error {
	cfg, err := m.conformConfig(ctx, f)
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
	if err := report.Write(m.Stdout, f.output); err != nil {
		return err
	}
	return verdict(report)
}

func (m *Main) replay(ctx context.Context, cfg conformance.Config, f conformFlags) error {
	var replace []string
	for from, to := range f.replace {
		replace = append(replace, from, to)
	}
	report, err := replay.Run(ctx, replay.Config{Wire: cfg.Wire(), Subscription: cfg.Subscription, Keep: cfg.Keep, Follow: f.operation, Time: f.time, Replace: replace}, f.replay)
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
	if err != nil {
		return err
	}
	return verdict(report.Tree())
}
