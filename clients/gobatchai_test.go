package clients_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/services/batchai/mgmt/2018-05-01/batchai"
	"github.com/Azure/go-autorest/autorest"
	"github.com/Azure/go-autorest/autorest/adal"

	"lazulite.dev/emulator"
)

// autorested points a client of the Go SDK (track 1) at the emulator: real
// tokens by client credentials, through the proxy, with its certificates.
func autorested(t *testing.T, e *emulator.Emulator, c *autorest.Client) {
	t.Helper()
	env := map[string]string{}
	for _, v := range e.Env() {
		env[v.Name] = v.Value
	}
	proxy, err := url.Parse(env["HTTPS_PROXY"])
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	sender := &http.Client{Transport: transport}
	id := e.Identity()
	authority, err := adal.NewOAuthConfig("https://login.microsoftonline.com/", id.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	token, err := adal.NewServicePrincipalToken(*authority, id.ClientID, id.ClientSecret, "https://management.azure.com/")
	if err != nil {
		t.Fatal(err)
	}
	token.SetSender(sender)
	c.Sender, c.Authorizer = sender, autorest.NewBearerAuthorizer(token)
}

// TestGoBatchAI is Batch AI by its Go SDK, azure-sdk-for-go v68, api-version 2018-05-01.
func TestGoBatchAI(t *testing.T) {
	t.Parallel()
	e := up(t)
	ctx := t.Context()
	sub := e.Identity().Subscription
	workspaces, clusters, experiments := batchai.NewWorkspacesClient(sub), batchai.NewClustersClient(sub), batchai.NewExperimentsClient(sub)
	jobs, usages, operations, servers := batchai.NewJobsClient(sub), batchai.NewUsagesClient(sub), batchai.NewOperationsClient(sub), batchai.NewFileServersClient(sub)
	for _, c := range []*autorest.Client{&workspaces.Client, &clusters.Client, &experiments.Client, &jobs.Client, &usages.Client, &operations.Client, &servers.Client} {
		autorested(t, e, c)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	text := func(s string) *string { return &s }
	// Track 1 has a package for each service: the group is made by a plain request.
	group, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://management.azure.com/subscriptions/"+sub+"/resourcegroups/G?api-version=2018-05-01", strings.NewReader(`{"location":"eastus2"}`))
	must("group", err)
	group.Header.Set("Content-Type", "application/json")
	group, err = autorest.Prepare(group, workspaces.WithAuthorization())
	must("group", err)
	made, err := workspaces.Send(group)
	must("group", err)
	_ = made.Body.Close()

	w, err := workspaces.Create(ctx, "G", "W", batchai.WorkspaceCreateParameters{Location: text("eastus2"), Tags: map[string]*string{"a": text("b")}})
	must("workspace", err)
	must("workspace", w.WaitForCompletionRef(ctx, workspaces.Client))
	f, err := servers.Create(ctx, "G", "W", "F", batchai.FileServerCreateParameters{FileServerBaseProperties: &batchai.FileServerBaseProperties{VMSize: text("Standard_D1_v2"),
		SSHConfiguration: &batchai.SSHConfiguration{UserAccountSettings: &batchai.UserAccountSettings{AdminUserName: text("me"), AdminUserPassword: text("Secret-Pass-9")}},
		DataDisks:        &batchai.DataDisks{DiskSizeInGB: number(10), DiskCount: number(1), StorageAccountType: batchai.StandardLRS}}})
	must("file server", err)
	must("file server", f.WaitForCompletionRef(ctx, servers.Client))
	server, err := f.Result(servers)
	must("file server", err)
	if server.MountSettings == nil || *server.MountSettings.FileServerInternalIP == "" || server.ProvisioningState != batchai.FileServerProvisioningStateSucceeded {
		t.Errorf("file server: %+v", server.FileServerProperties)
	}
	c, err := clusters.Create(ctx, "G", "W", "C", batchai.ClusterCreateParameters{ClusterBaseProperties: &batchai.ClusterBaseProperties{VMSize: text("Standard_D1_v2"),
		ScaleSettings:       &batchai.ScaleSettings{AutoScale: &batchai.AutoScaleSettings{MinimumNodeCount: number(0), MaximumNodeCount: number(2)}},
		UserAccountSettings: &batchai.UserAccountSettings{AdminUserName: text("me"), AdminUserPassword: text("Secret-Pass-9")},
		NodeSetup: &batchai.NodeSetup{MountVolumes: &batchai.MountVolumes{FileServers: &[]batchai.FileServerReference{
			{FileServer: &batchai.ResourceID{ID: server.ID}, RelativeMountPath: text("nfs")}}}}}})
	must("cluster", err)
	must("cluster", c.WaitForCompletionRef(ctx, clusters.Client))
	cluster, err := c.Result(clusters)
	must("cluster", err)
	x, err := experiments.Create(ctx, "G", "W", "E")
	must("experiment", err)
	must("experiment", x.WaitForCompletionRef(ctx, experiments.Client))
	for _, name := range []string{"J1", "J2", "J3"} {
		j, err := jobs.Create(ctx, "G", "W", "E", name, batchai.JobCreateParameters{JobBaseProperties: &batchai.JobBaseProperties{Cluster: &batchai.ResourceID{ID: cluster.ID}, NodeCount: number(1),
			StdOutErrPathPrefix: text("$AZ_BATCHAI_MOUNT_ROOT/nfs"), CustomToolkitSettings: &batchai.CustomToolkitSettings{CommandLine: text("echo " + name + " >> $AZ_BATCHAI_MOUNT_ROOT/nfs/all")}}})
		must("job", err)
		must("job", j.WaitForCompletionRef(ctx, jobs.Client))
	}
	deadline := time.Now().Add(time.Minute)
	for _, name := range []string{"J1", "J2", "J3"} {
		for {
			j, err := jobs.Get(ctx, "G", "W", "E", name)
			must("job", err)
			if j.ExecutionState == batchai.Succeeded {
				if *j.ExecutionInfo.ExitCode != 0 || j.ToolType != batchai.Custom {
					t.Errorf("%s: %+v", name, j.ExecutionInfo)
				}
				break
			}
			if time.Now().After(deadline) || j.ExecutionState == batchai.Failed {
				t.Fatalf("%s is %s: %+v", name, j.ExecutionState, j.ExecutionInfo)
			}
		}
	}
	all, err := jobs.ListByExperimentComplete(ctx, "G", "W", "E", number(2)) // in pages of two
	must("jobs", err)
	names := ""
	for ; all.NotDone(); must("jobs", all.NextWithContext(ctx)) {
		names += *all.Value().Name
	}
	if names != "J1J2J3" {
		t.Errorf("jobs: %s", names)
	}
	if _, err := jobs.ListOutputFiles(ctx, "G", "W", "E", "J1", "stdouterr", ".", nil, nil); err == nil || !strings.Contains(err.Error(), "OutputDirectoryNotSupported") {
		t.Errorf("files that are in no storage account: %v", err)
	}
	if _, err := clusters.Update(ctx, "G", "W", "C", batchai.ClusterUpdateParameters{ClusterUpdateProperties: &batchai.ClusterUpdateProperties{
		ScaleSettings: &batchai.ScaleSettings{Manual: &batchai.ManualScaleSettings{TargetNodeCount: number(1), NodeDeallocationOption: batchai.Waitforjobcompletion}}}}); err != nil {
		t.Error(err)
	}
	if _, err := clusters.Get(ctx, "G", "W", "none"); err == nil || !strings.Contains(err.Error(), "ClusterNotFound") {
		t.Errorf("no cluster: %v", err)
	}
	u, err := usages.List(ctx, "eastus2")
	must("usages", err)
	if first := u.Values(); len(first) != 21 || *first[0].CurrentValue != 1 {
		t.Errorf("usages: %d", len(first))
	}
	o, err := operations.List(ctx)
	must("operations", err)
	if len(o.Values()) != 26 {
		t.Errorf("operations: %d", len(o.Values()))
	}
	gone, err := workspaces.Delete(ctx, "G", "W")
	must("delete", err)
	must("delete", gone.WaitForCompletionRef(ctx, workspaces.Client))
	if r, err := workspaces.Get(ctx, "G", "W"); err == nil || r.StatusCode != http.StatusNotFound {
		t.Errorf("the workspace is still there: %v", err)
	}
}

func number(n int32) *int32 { return &n }
