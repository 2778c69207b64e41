// Package conformance judges an implementation of Azure Machine Learning of
// 2018, and of the Azure Resource Manager under it, by its wire: it is pointed
// at a URL and sends what the clients of that time send.
//
// It is for everybody who has such an implementation: import it and call Test
// from a Go test, Describe from a Ginkgo suite, or Run from a program. Nothing
// of lazulite is imported, and nothing runs, registers or reads the
// environment when the package is imported.
//
// Each requirement has an id, a level (must, should, may), a source and labels
// in the catalogue. Six results are kept apart: pass, fail, skip (something is
// absent on our side or in the configuration), disabled (by label or budget),
// unsupported (the implementation itself says that it lacks it) and error (our
// own). What a run creates is deleted again, newest first, unless Keep is set.
//
// It is no load test and no security audit, and it judges no behaviour for
// which there is no source.
package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/conformance/wire"
)

// Config says what to judge and how. Endpoint, Subscription and a way to get
// tokens (Token, or Authority with Tenant, ClientID and ClientSecret) are
// required; NewConfig fills the rest.
//
// Fields with an env tag can be set in the environment, see Load.
type Config struct {
	// Endpoint is the URL of Azure Resource Manager.
	Endpoint string `json:"endpoint" env:"AMLC_ENDPOINT"`
	// Authority is the URL that tokens come from.
	Authority    string `json:"authority" env:"AMLC_AUTHORITY"`
	Tenant       string `json:"tenant" env:"AMLC_TENANT"`
	ClientID     string `json:"clientId" env:"AMLC_CLIENT_ID"`
	ClientSecret string `json:"clientSecret" env:"AMLC_CLIENT_SECRET"`
	// Token, if set, is asked for every token instead of Authority.
	Token func(ctx context.Context, audience string) (string, error) `json:"-"`
	// ExpiredToken is a token that was good once; without it, and without Advance, nothing is said about expiry.
	ExpiredToken string `json:"expiredToken" env:"AMLC_EXPIRED_TOKEN"`
	// ForeignToken is a good token of another tenant; without it nothing is said about issuers.
	ForeignToken string `json:"foreignToken" env:"AMLC_FOREIGN_TOKEN"`

	// HTTPClient, if set, sends everything; Proxy and CAFile must then be empty.
	HTTPClient *http.Client `json:"-"`
	// Proxy is the HTTPS CONNECT proxy that reaches the hosts of the data plane
	// (all but loopback ones); "env" takes HTTPS_PROXY and NO_PROXY.
	Proxy string `json:"proxy" env:"AMLC_PROXY"`
	// CAFile is a PEM bundle trusted beside the system's roots, here and in the runs that the suite starts.
	CAFile string `json:"caFile" env:"AMLC_CA_FILE"`

	Subscription string `json:"subscription" env:"AMLC_SUBSCRIPTION"`
	// ResourceGroup is the prefix of the groups that are created, each with a random end.
	ResourceGroup string `json:"resourceGroup" env:"AMLC_RESOURCE_GROUP"`
	Location      string `json:"location" env:"AMLC_LOCATION"`
	// Workspace is the prefix of the workspace's name.
	Workspace string `json:"workspace" env:"AMLC_WORKSPACE"`

	// Targets limits the specs labelled target:… to these (local, vm, dsvm, batchai, aci, hdinsight); empty is all.
	Targets []string `json:"targets" env:"AMLC_TARGETS"`
	// Labels is a Ginkgo label filter, such as "core && !slow"; empty is all. A
	// requirement's id is a label too: "/^core.group/" has those of resource groups.
	Labels string `json:"labels" env:"AMLC_LABELS"`
	// Python starts Python 3 for runs, here and on the VM.
	Python string `json:"python" env:"AMLC_PYTHON"`
	// SSH is a Linux machine of yours for target:vm; without an address the suite creates one.
	SSH SSH `json:"ssh"`
	// VMSize of the machine that the suite creates.
	VMSize string `json:"vmSize" env:"AMLC_VM_SIZE"`
	// HDInsightSize of the nodes of the cluster that the suite creates.
	HDInsightSize string `json:"hdinsightSize" env:"AMLC_HDINSIGHT_SIZE"`
	// GPUSize of the machine that the suite creates for the label gpu, and where that size is sold.
	GPUSize     string `json:"gpuSize" env:"AMLC_GPU_SIZE"`
	GPULocation string `json:"gpuLocation" env:"AMLC_GPU_LOCATION"`

	// Documents is a folder of Azure's OpenAPI documents, in the layout of
	// Azure/azure-rest-api-specs. With it, a requirement also fails for an answer
	// that its document does not allow.
	Documents string `json:"documents" env:"AMLC_DOCUMENTS"`
	// Journal is a file that names what a run created until it is deleted, so that
	// Sweep can delete it after a crash; empty: none is kept.
	Journal string `json:"journal" env:"AMLC_JOURNAL"`
	// Keep leaves everything in place and says so in the report.
	Keep bool `json:"keep" env:"AMLC_KEEP"`
	// Budget bounds the run.
	Budget Budget `json:"budget"`
	// Results, if set, gets the report as JSON when the run is over.
	Results io.Writer `json:"-"`
	// Advance moves the implementation's clock; nil where that can't be done.
	Advance func(time.Duration) `json:"-"`
}

// SSH is the login of a machine that the service, and we, can reach.
type SSH struct {
	Address  string `json:"address" env:"AMLC_SSH_ADDRESS"`
	Port     int    `json:"port" env:"AMLC_SSH_PORT"`
	User     string `json:"user" env:"AMLC_SSH_USER"`
	Password string `json:"password" env:"AMLC_SSH_PASSWORD"`
	// KeyFile is a PEM private key; it is sent to the service at attach, as the SDK sends it.
	KeyFile string `json:"keyFile" env:"AMLC_SSH_KEY_FILE"`
}

// Budget bounds a run.
type Budget struct {
	// Time for the whole run. Specs that find it spent are disabled.
	Time time.Duration `json:"time" env:"AMLC_BUDGET_TIME"`
	// Operation is how long one long-running operation, or one run, may take.
	Operation time.Duration `json:"operation" env:"AMLC_BUDGET_OPERATION"`
	// Cost in US dollars that the specs labelled cost may spend together, by
	// their estimates in the catalogue. 0 disables them: against real Azure
	// nothing is spent unasked. FreeOfCost is for implementations that cost nothing.
	Cost float64 `json:"cost" env:"AMLC_BUDGET_COST"`
}

// FreeOfCost as Budget.Cost runs the specs labelled cost whatever they would cost on Azure.
const FreeOfCost = -1

// requestMost bounds one request with its answer.
const requestMost = 2 * time.Minute

// NewConfig returns a Config with every default, and no endpoint.
func NewConfig() Config {
	return Config{
		Authority:     "https://login.microsoftonline.com",
		ResourceGroup: "conform-",
		Location:      "eastus2",
		Workspace:     "conform",
		Python:        "python3",
		VMSize:        "Standard_D2_v2",
		HDInsightSize: "Standard_D3_v2",
		GPUSize:       "Standard_NC6",
		GPULocation:   "eastus",
		SSH:           SSH{Port: 22},
		Budget:        Budget{Time: time.Hour, Operation: 10 * time.Minute},
	}
}

// Wire is the part of the Config that a client needs, for package replay too.
func (c Config) Wire() wire.Config {
	return wire.Config{
		Endpoint: c.Endpoint, Authority: c.Authority,
		Tenant: c.Tenant, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Token: c.Token,
		HTTPClient: c.HTTPClient, Proxy: c.Proxy, CAFile: c.CAFile,
		Journal: c.Journal, Advance: c.Advance, PollLimit: c.Budget.Operation, Request: min(c.Budget.Operation, requestMost),
	}
}

// check returns what is missing, and c with defaults where a field is empty.
func (c Config) check() (Config, error) {
	d := NewConfig()
	for _, f := range []struct{ have, def *string }{
		{&c.ResourceGroup, &d.ResourceGroup}, {&c.Location, &d.Location}, {&c.Workspace, &d.Workspace},
		{&c.Python, &d.Python}, {&c.VMSize, &d.VMSize}, {&c.HDInsightSize, &d.HDInsightSize}, {&c.GPUSize, &d.GPUSize}, {&c.GPULocation, &d.GPULocation},
	} {
		if *f.have == "" {
			*f.have = *f.def
		}
	}
	if c.Budget.Time <= 0 {
		c.Budget.Time = d.Budget.Time
	}
	if c.Budget.Operation <= 0 {
		c.Budget.Operation = d.Budget.Operation
	}
	if c.SSH.Port == 0 {
		c.SSH.Port = d.SSH.Port
	}
	switch {
	case c.Endpoint == "":
		return c, fmt.Errorf("no endpoint: give the URL of Azure Resource Manager")
	case c.Subscription == "":
		return c, fmt.Errorf("no subscription: give its id")
	case c.Token == nil && (c.Authority == "" || c.Tenant == "" || c.ClientID == "" || c.ClientSecret == ""):
		return c, fmt.Errorf("no way to get a token: give authority, tenant, client id and client secret")
	}
	known, err := targets()
	if err != nil {
		return c, err
	}
	for _, t := range c.Targets {
		if !contains(known, t) {
			return c, fmt.Errorf("unknown target %q: there are %s", t, strings.Join(known, ", "))
		}
	}
	return c, nil
}
