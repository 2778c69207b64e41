package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator"
)

// ear is a RoundTripper that remembers every answer: header and body.
type ear struct {
	next http.RoundTripper

	mu    sync.Mutex
	heard []heard
}

type heard struct{ request, answer string }

func (e *ear) RoundTrip(r *http.Request) (*http.Response, error) {
	line := r.Method + " " + r.URL.Host + r.URL.Path
	res, err := e.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, heard{line, fmt.Sprint(res.Header) + string(body)})
	return res, nil
}

// locked is a buffer for the log.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Ensure that no password, key, token or signature is in an answer but where
// its client needs it, nor ever in the log, and that others cannot read the data folder.
func TestSecretsStay(t *testing.T) {
	needPython(t)
	log := &locked{}
	dir := t.TempDir()
	e, inside := up(t, func(c *emulator.Config) {
		c.Dir, c.Logger = dir, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	listener := &ear{next: overPort(t, e.Addr(), e.Status().CAFile)}
	c := &client{t: t, http: listener, id: inside.id}
	if err := c.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.workspace()
	c.put("{WS}/computes/target", vmBody)

	const password, vmPassword, stored, lake, parameter = "Pa55-attached-word", "Pa55-machine-word", "Pa55-stored-word", "Pa55-lake-word", "Pa55-parameter-word"
	keys := c.must(200, "POST {WS}/computes/target/listKeys", "")
	machine := c.must(200, "GET {WS}/computes/target", nil)
	private, _ := json.Marshal(keys.text("privateKeyData"))
	port := fmt.Sprint(machine.get("properties.properties.sshPort"))
	attach := func(name string, account map[string]any) {
		c.must(201, "PUT {WS}/computes/"+name, map[string]any{"location": "eastus2", "properties": map[string]any{"computeType": "VirtualMachine",
			"properties": map[string]any{"address": machine.text("properties.properties.address"), "sshPort": port, "administratorAccount": account}}})
	}
	attach("bykey", map[string]any{"username": keys.text("username"), "privateKeyData": keys.text("privateKeyData")})
	c.state("{WS}/computes/bykey", "Succeeded")
	attach("bypassword", map[string]any{"username": keys.text("username"), "password": password})
	c.state("{WS}/computes/bypassword", "Failed")
	nic := c.expand("{SUB}/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/second")
	c.put("{P}/Microsoft.Network/networkInterfaces/second", `{"location":"eastus2","properties":{"ipConfigurations":[{"name":"c","properties":{"subnet":{"id":"`+
		c.expand("{SUB}/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/targetVNET/subnets/default")+`"}}}]}}`)
	c.must(201, "PUT {P}/Microsoft.Compute/virtualMachines/second", `{"location":"eastus2","properties":{"hardwareProfile":{"vmSize":"Standard_D2_v2"},
		"storageProfile":{"imageReference":{"publisher":"Canonical","offer":"UbuntuServer","sku":"16.04-LTS","version":"latest"},"osDisk":{"createOption":"FromImage"}},
		"osProfile":{"computerName":"second","adminUsername":"azureuser","adminPassword":"`+vmPassword+`"},"networkProfile":{"networkInterfaces":[{"id":"`+nic+`"}]}}}`)
	c.state("{P}/Microsoft.Compute/virtualMachines/second", "Succeeded")
	c.must(201, "PUT {P}/Microsoft.Resources/deployments/secretive", `{"properties":{"mode":"Incremental","parameters":{"p":{"value":"`+parameter+`"}},"template":{
		"$schema":"https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#","contentVersion":"1.0.0.0","parameters":{"p":{"type":"securestring"}},
		"resources":[],"outputs":{"o":{"type":"securestring","value":"[parameters('p')]"}}}}}`)
	c.state("{P}/Microsoft.Resources/deployments/secretive", "Succeeded")
	c.must(200, "PUT {credential}/secrets", map[string]string{"Name": "s", "Value": stored})
	c.must(200, "GET {credential}/secrets/s", nil)
	c.must(200, "POST {datastore}/datastores", `{"name":"lake","dataStoreType":"AzureDataLake","azureDataLakeSection":{"storeName":"s","tenantId":"t","clientId":"c","clientSecret":"`+lake+`","isCertAuth":false}}`)
	storage := c.must(200, "POST {P}/Microsoft.Storage/storageAccounts/acct/listKeys", "").text("keys.0.value")

	files := project(t)
	remote := c.started("target", files)
	local := filepath.Join(t.TempDir(), "run")
	if err := c.localRun(t.Context(), "local_1", local, files); err != nil {
		t.Fatal(err)
	}
	var credentials struct{ Token string }
	b, err := os.ReadFile(filepath.Join(local, "azureml-setup", "credentials.json"))
	if err != nil || json.Unmarshal(b, &credentials) != nil || credentials.Token == "" {
		t.Fatalf("the control scripts have no token: %v", err)
	}
	runToken := c.must(200, "GET "+runURL(remote)+"/token", nil).text("token")
	invoke(t, local)
	for _, id := range []string{remote, "local_1"} {
		if d := c.runEnd(id, time.Minute); d.text("status") != "Completed" {
			t.Fatalf("%s\n%s", d, c.logs(d))
		}
	}
	content := c.must(200, "GET {artifact}/artifacts/contentinfo/ExperimentRun/"+remote+"/azureml-logs/60_control_log.txt", nil).text("contentUri")
	c.must(200, "GET "+content, nil)
	signed, err := url.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	c.grant("Pa55-wrong-word", "https://management.core.windows.net/")
	for _, request := range []string{"GET {G}", "GET {ARM}/resources", "GET {WS}", "GET {WS}/computes", "GET {WS}/computes/target", "GET {WS}/computes/bykey", "GET {WS}/computes/bypassword",
		"GET {P}/Microsoft.Compute/virtualMachines", "GET {P}/Microsoft.Compute/virtualMachines/target", "GET {P}/Microsoft.Compute/virtualMachines/second?$expand=instanceView",
		"GET {P}/Microsoft.Storage/storageAccounts/acct", "GET {P}/Microsoft.Resources/deployments", "GET {P}/Microsoft.Resources/deployments/secretive",
		"GET {P}/Microsoft.Resources/deployments/secretive/operations", "POST {P}/Microsoft.Resources/deployments/secretive/exportTemplate", "GET {datastore}/datastores", "GET {datastore}/datastores/workspaceblobstore",
		"GET {datastore}/datastores/lake", "GET {history}/experiments/exp/runs", "GET " + runURL(remote), "GET " + runURL(remote) + "/details", "GET " + runURL(remote) + "/events",
		"GET " + runURL("local_1") + "/details", "GET {artifact}/artifacts/origins/ExperimentRun/containers/" + remote, "GET " + e.URL() + "/lazulite/status"} {
		c.do(request, nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Error(err)
	}

	secrets := []struct{ name, value, where string }{
		{"password of an attached machine", password, `^POST .*/computes/bypassword/listKeys$`},
		{"password of a VM", vmPassword, `^$`},
		{"private key", string(private[60:120]), `^POST .*/computes/[^/]+/listKeys$`},
		{"client secret", c.id.ClientSecret, `^$`},
		{"secret that was refused", "Pa55-wrong-word", `^$`},
		{"admin token", c.id.AdminToken, `^$`},
		{"bearer token", c.token, `^POST login\.microsoftonline\.com/.*/oauth2/token$`},
		{"run token", runToken, `/runs/` + remote + `/token$`},
		{"local run's token", credentials.Token, `/runs/local_1/token$`},
		// The SDK opens a datastore by the key in the answer for it alone.
		{"storage key", storage, `^POST .*/listKeys$|^GET .*/datastore/v1\.0/.*/(datastores/[^/]+|default)$`},
		{"SAS signature", url.QueryEscape(signed.Query().Get("sig")), `/contentinfo/|/details$|/batch/metadata/|/content/snapshots/`},
		{"stored secret", stored, `^GET .*/credential/.*/secrets/s$`},
		{"data lake's secret", lake, `^GET .*/datastores/lake$`},
		{"deployment's parameter", parameter, `^$`},
	}
	logged := log.String()
	if !strings.Contains(logged, "level=DEBUG") || !strings.Contains(logged, "/contentinfo/") {
		t.Fatal("the log has no requests")
	}
	for _, s := range secrets {
		if len(s.value) < 10 {
			t.Fatalf("the %s is %q", s.name, s.value)
		}
		spots, where := 0, regexp.MustCompile(s.where)
		for _, h := range listener.heard {
			if !strings.Contains(h.answer, s.value) {
				continue
			}
			spots++
			if !where.MatchString(h.request) {
				t.Errorf("the %s is in the answer to %s", s.name, h.request)
			}
		}
		if spots == 0 && s.where != `^$` && s.name != "password of an attached machine" && s.name != "local run's token" {
			t.Errorf("the %s is nowhere: the test looks for the wrong thing", s.name)
		}
		if i := strings.Index(logged, s.value); i >= 0 {
			t.Errorf("the %s is in the log: %s", s.name, logged[max(0, i-300):min(len(logged), i+100)])
		}
	}
	if i := strings.Index(logged, "sig="); i >= 0 && !strings.HasPrefix(logged[i:], "sig=-") {
		t.Errorf("a signature is in the log: %s", logged[i:min(len(logged), i+80)])
	}
	unreadable(t, dir)
}

// unreadable checks that other users of the machine cannot read a data folder, itself open to all.
func unreadable(t *testing.T, dir string) {
	t.Helper()
	if info, err := os.Stat(filepath.Join(dir, "tls", "ca-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key: %v %v", info, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && info.Mode().Perm()&0o077 == 0:
			return filepath.SkipDir
		case info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && filepath.Dir(path) != filepath.Join(dir, "tls"):
			t.Errorf("%s is %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
