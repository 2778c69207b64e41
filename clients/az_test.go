package clients_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/emulator"
)

// azure is az with a profile of its own.
type azure struct {
	t   *testing.T
	bin string
	env []string
}

// run executes one az command and decodes its JSON.
func (a azure) run(args ...string) any {
	a.t.Helper()
	out, err := a.try(args...)
	if err != nil {
		a.t.Fatalf("az %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(out, &v); err != nil {
		a.t.Fatalf("az %s printed %q: %v", strings.Join(args, " "), out, err)
	}
	return v
}

func (a azure) try(args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(a.bin, "python"), append([]string{"-m", "azure.cli"}, args...)...)
	cmd.Env = a.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return append(stdout.Bytes(), stderr.Bytes()...), err
	}
	return stdout.Bytes(), nil
}

// throughProxy is the first way in: the public cloud's names through the CONNECT proxy.
func throughProxy(t *testing.T, c client) (azure, *emulator.Emulator) {
	bin := c.bin(t)
	t.Parallel()
	e := up(t)
	return azure{t, bin, append(environ(t, e, bin), "AZURE_CONFIG_DIR="+t.TempDir())}, e
}

// registeredCloud is the second: no proxy, az cloud register.
func registeredCloud(t *testing.T, c client) (azure, *emulator.Emulator) {
	bin := c.bin(t)
	t.Parallel()
	e := up(t)
	var env []string
	for _, v := range environ(t, e, bin) {
		if name, _, _ := strings.Cut(v, "="); !strings.EqualFold(name, "https_proxy") && name != "MSI_ENDPOINT" {
			env = append(env, v)
		}
	}
	a := azure{t, bin, append(env, "AZURE_CONFIG_DIR="+t.TempDir(), "AZURE_CORE_INSTANCE_DISCOVERY=false")}
	base := "https://" + strings.Replace(e.Addr(), "127.0.0.1", "localhost", 1)
	register := []string{"cloud", "register", "-n", "Local", "--endpoint-resource-manager", base}
	if c == az2018 {
		register = append(register, "--endpoint-management", base, "--endpoint-active-directory", base+"/adfs",
			"--endpoint-active-directory-resource-id", "https://management.core.windows.net/",
			"--endpoint-active-directory-graph-resource-id", base+"/graph", "--suffix-storage-endpoint", "core.windows.net")
	}
	a.run(register...)
	a.run("cloud", "set", "-n", "Local")
	return a, e
}

func groups(t *testing.T, a azure, e *emulator.Emulator) {
	id := e.Identity()
	// First, for az of today remembers a service principal's token whatever secret comes next.
	if out, err := a.try("login", "--service-principal", "-u", id.ClientID, "-p", "wrong", "--tenant", id.Tenant); err == nil || !strings.Contains(string(out), "AADSTS") {
		t.Errorf("a wrong secret logged in: %s", out)
	}
	subs, ok := a.run("login", "--service-principal", "-u", id.ClientID, "-p", id.ClientSecret, "--tenant", id.Tenant).([]any)
	if !ok || len(subs) != 1 || subs[0].(map[string]any)["id"] != id.Subscription {
		t.Fatalf("az login: %v", subs)
	}
	g := a.run("group", "create", "-n", "MyGroup", "-l", "westus2", "--tags", "a=b").(map[string]any)
	if g["location"] != "westus2" || g["properties"].(map[string]any)["provisioningState"] != "Succeeded" {
		t.Errorf("group create: %v", g)
	}
	if out, err := a.try("group", "create", "-n", "mygroup", "-l", "eastus"); err == nil || !strings.Contains(string(out), "InvalidResourceGroupLocation") && !strings.Contains(string(out), "already exists in location") {
		t.Errorf("a group in another location: %s", out)
	}
	if v := a.run("group", "exists", "-n", "MYGROUP"); v != true {
		t.Errorf("group exists: %v", v)
	}
	if g := a.run("group", "show", "-n", "mygroup").(map[string]any); g["name"] != "MyGroup" {
		t.Errorf("group show: %v", g)
	}
	if l := a.run("group", "list", "--tag", "a=b").([]any); len(l) != 1 {
		t.Errorf("group list: %v", l)
	}
	if g := a.run("group", "update", "-n", "MyGroup", "--set", "tags.c=d").(map[string]any); g["tags"].(map[string]any)["c"] != "d" {
		t.Errorf("group update: %v", g)
	}
	if p := a.run("provider", "show", "-n", "Microsoft.MachineLearningServices").(map[string]any); p["registrationState"] != "Registered" {
		t.Errorf("provider show: %v", p)
	}
	a.run("storage", "account", "create", "-n", "clientstest1", "-g", "MyGroup", "-l", "westus2", "--sku", "Standard_LRS")
	if keys := a.run("storage", "account", "keys", "list", "-n", "clientstest1", "-g", "MyGroup").([]any); len(keys) != 2 {
		t.Errorf("storage keys: %v", keys)
	}
	a.run("group", "delete", "-n", "MyGroup", "--yes")
	if v := a.run("group", "exists", "-n", "MyGroup"); v != false {
		t.Errorf("the group is still there: %v", v)
	}
	if out, err := a.try("group", "show", "-n", "MyGroup"); err == nil || !strings.Contains(string(out), "could not be found") {
		t.Errorf("group show of none: %s", out)
	}
}

func TestAz2018Proxy(t *testing.T) {
	a, e := throughProxy(t, az2018)
	groups(t, a, e)
}

func TestAz2018Cloud(t *testing.T) {
	a, e := registeredCloud(t, az2018)
	groups(t, a, e)
}

func TestAzNewProxy(t *testing.T) {
	a, e := throughProxy(t, azNew)
	groups(t, a, e)
}

func TestAzNewCloud(t *testing.T) {
	a, e := registeredCloud(t, azNew)
	groups(t, a, e)
}
