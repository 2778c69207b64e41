package dsvm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/arm/armtest"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/store"
	"lazulite.dev/fakes/dsvm"
)

// service is the fake behind the real ARM engine, spoken to in HTTP.
type service struct {
	*testing.T
	dir    string
	engine *engine.Process
	fake   *dsvm.Fake
	store  *store.Store
	arm    *arm.Engine
	way    http.RoundTripper
}

func newService(t *testing.T, dir, lifecycle string, change ...func(*dsvm.Config)) *service {
	t.Helper()
	s := &service{T: t, dir: dir}
	var err error
	if s.engine, err = engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")}); err != nil {
		t.Fatal(err)
	}
	cfg := dsvm.Config{Engine: s.engine, Dir: dir, Lifecycle: lifecycle}
	for _, f := range change {
		f(&cfg)
	}
	s.fake = dsvm.New(cfg)
	if s.store, err = store.Open(store.Config{Path: filepath.Join(dir, "arm.db")}); err != nil {
		t.Fatal(err)
	}
	if s.arm, err = arm.New(arm.Config{Store: s.store, Subscriptions: []arm.Subscription{{ID: strings.TrimPrefix(sub, "/subscriptions/")}}, Providers: s.fake.Providers(),
		Authenticate: func(*http.Request) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	s.way = openapitest.Transport(t, s.arm.Transport())
	if err := errors.Join(s.fake.Open(t.Context()), s.arm.Open(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (s *service) close() {
	if s.arm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(s.arm.Close(ctx), s.fake.Close(ctx), s.engine.Close(ctx), s.store.Close()); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.arm = nil
}

// do sends "METHOD path" and gives what came back.
func (s *service) do(line, body string) (int, http.Header, map[string]any) {
	s.Helper()
	a := armtest.Do(s, s.way, "2018-10-01", line, body)
	return a.Status, a.Header, a.Object()
}

// must checks the status, and follows the operation to its end if there is one.
func (s *service) must(status int, line, body string) map[string]any {
	s.Helper()
	got, header, out := s.do(line, body)
	if got != status {
		s.Fatalf("%s: %d, want %d: %v", line, got, status, out)
	}
	if url := header.Get("Azure-Asyncoperation"); url != "" {
		if end := s.follow(url); end["status"] != "Succeeded" {
			s.Fatalf("%s ended as %v", line, end)
		}
	}
	return out
}

func (s *service) follow(url string) map[string]any {
	s.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); ; <-tick.C {
		status, _, doc := s.do("GET "+url, "")
		if status != 200 {
			s.Fatalf("%s: %d, %v", url, status, doc)
		}
		if word := doc["status"]; word != "InProgress" {
			return doc
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s: still %v", url, doc)
		}
	}
}

// nets makes what a VM needs, one after the other without waiting, as templates do.
func (s *service) nets(name string) (nic string) {
	s.Helper()
	for path, body := range map[string]string{
		"virtualNetworks/vnet":              `{"location":"eastus2","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"default","properties":{"addressPrefix":"10.0.0.0/24"}}]}}`,
		"networkSecurityGroups/nsg":         `{"location":"eastus2","properties":{"securityRules":[{"name":"ssh","properties":{"protocol":"Tcp","sourcePortRange":"*","destinationPortRange":"22","sourceAddressPrefix":"*","destinationAddressPrefix":"*","access":"Allow","priority":1000,"direction":"Inbound"}}]}}`,
		"publicIPAddresses/" + name + "-ip": `{"location":"eastus2","properties":{"publicIPAllocationMethod":null}}`,
	} {
		if status, _, _ := s.do("GET "+network+path, ""); status == 404 {
			s.must(201, "PUT "+network+path, body)
		}
	}
	nic = network + "networkInterfaces/" + name + "-nic"
	if status, _, _ := s.do("GET "+nic, ""); status == 200 {
		return nic
	}
	s.must(201, "PUT "+nic, `{"location":"eastus2","properties":{"networkSecurityGroup":{"id":"`+network+`networkSecurityGroups/nsg"},"ipConfigurations":[{"name":"ipconfig","properties":{"subnet":{"id":"`+network+`virtualNetworks/vnet/subnets/default"},"publicIPAddress":{"id":"`+network+`publicIPAddresses/`+name+`-ip"}}}]}}`)
	return nic
}

func (s *service) endpoint(name string) string {
	s.Helper()
	_, _, ip := s.do("GET "+network+"publicIPAddresses/"+name+"-ip", "")
	address, _ := at(ip, "properties.ipAddress").(string)
	port, ok := at(ip, "tags."+dsvm.PortTag).(string)
	if !ok {
		port = "22"
	}
	if address == "" {
		return ""
	}
	return net.JoinHostPort(address, port)
}

func TestOverHTTP(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	signer, line := newRSA(t)
	vm := compute + "http1"
	made := s.must(201, "PUT "+vm, vmBody("Standard_D2_v2", s.nets("http1"), withKey(line)))
	if at(made, "properties.provisioningState") != "Creating" || at(made, "properties.osProfile.adminPassword") != nil {
		t.Errorf("the first answer: %v", made)
	}
	// Who sees the operation end can log in.
	endpoint := s.endpoint("http1")
	c, _, err := dial(endpoint, gossh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	got := s.must(200, "GET "+vm+"?$expand=instanceView", "")
	if at(got, "properties.provisioningState") != "Succeeded" || at(got, "properties.instanceView.statuses.1.code") != "PowerState/running" {
		t.Errorf("GET: %v", got)
	}
	if got := s.must(200, "GET "+network+"networkInterfaces/http1-nic", ""); at(got, "properties.virtualMachine.id") != vm {
		t.Errorf("interface: %v", got)
	}
	for _, c := range []struct {
		action, power string
		reachable     bool
	}{{"powerOff", "stopped", false}, {"start", "running", true}, {"restart", "running", true}, {"deallocate", "deallocated", false}, {"start", "running", true}} {
		status, header, _ := s.do("POST "+vm+"/"+c.action, "")
		if status != 202 || !strings.Contains(header.Get("Azure-Asyncoperation"), "/providers/Microsoft.Compute/locations/eastus2/operations/") || !strings.Contains(header.Get("Location"), "monitor=true") {
			t.Errorf("%s: %d, %v", c.action, status, header)
		}
		if end := s.follow(header.Get("Azure-Asyncoperation")); end["status"] != "Succeeded" || end["name"] == nil || end["startTime"] == nil || end["endTime"] == nil {
			t.Errorf("%s ended as %v", c.action, end)
		}
		view := s.must(200, "GET "+vm+"/instanceView", "")
		if got := at(view, "statuses.1.code"); got != "PowerState/"+c.power {
			t.Errorf("after %s: %v", c.action, got)
		}
		client, _, err := dial(endpoint, gossh.PublicKeys(signer))
		if (err == nil) != c.reachable {
			t.Errorf("after %s: %v", c.action, err)
		}
		if err == nil {
			client.Close()
		}
	}
	if got := s.must(200, "PATCH "+vm, `{"tags":{"x":"y"}}`); at(got, "tags.x") != "y" {
		t.Errorf("PATCH: %v", got)
	}
	for path, code := range map[string]string{network + "networkInterfaces/http1-nic": "NicInUse", network + "publicIPAddresses/http1-ip": "PublicIPAddressCannotBeDeleted",
		network + "virtualNetworks/vnet": "InUseSubnetCannotBeDeleted", network + "networkSecurityGroups/nsg": "InUseNetworkSecurityGroupCannotBeDeleted"} {
		if status, _, got := s.do("DELETE "+path, ""); status != 400 || at(got, "error.code") != code {
			t.Errorf("DELETE %s: %d, %v", path, status, got)
		}
	}
	sizes := s.must(200, "GET "+sub+"/providers/Microsoft.Compute/locations/eastus2/vmSizes", "")
	if at(sizes, "value.0.numberOfCores") == nil {
		t.Errorf("vmSizes: %v", sizes)
	}
	networks := s.must(200, "GET "+sub+"/providers/Microsoft.Network/locations/eastus2/usages", "")
	for i, want := range []any{1.0, 0.0, 1.0, 1.0, 1.0} {
		if got := at(networks, fmt.Sprintf("value.%d.currentValue", i)); got != want {
			t.Errorf("%v: %v", at(networks, fmt.Sprintf("value.%d.name.value", i)), got)
		}
	}
	if got := s.must(200, "GET "+sub+"/providers/Microsoft.Network/locations/westus/usages", ""); at(got, "value.0.currentValue") != 0.0 {
		t.Errorf("it counts in another region: %v", got)
	}
	usages := s.must(200, "GET "+sub+"/providers/Microsoft.Compute/locations/eastus2/usages", "")
	if got := at(usages, "value.1.currentValue"); got != 2.0 {
		t.Errorf("cores in use: %v", got)
	}
	s.must(201, "PUT "+network+"virtualNetworks/vnet/subnets/more", `{"properties":{"addressPrefix":"10.0.1.0/24"}}`)
	within(t, func() bool {
		return at(s.must(200, "GET "+network+"virtualNetworks/vnet", ""), "properties.subnets.1.name") == "more"
	}, func() string { return "the network does not show its new subnet" })
	s.must(202, "DELETE "+vm, "")
	if status, _, _ := s.do("GET "+vm, ""); status != 404 {
		t.Errorf("after DELETE: %d", status)
	}
	if s.endpoint("http1") != "" {
		t.Error("the address is still there")
	}
}

// A group is deleted with all that is in it, whatever uses what.
func TestGroupOverHTTP(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	_, line := newRSA(t)
	var making sync.WaitGroup
	var nics []string
	for i := range 12 {
		nics = append(nics, s.nets(fmt.Sprintf("g%d", i)))
	}
	for i, nic := range nics {
		making.Go(func() {
			s.must(201, fmt.Sprintf("PUT %sg%d", compute, i), vmBody("Standard_D1_v2", nic, withKey(line)))
			if s.endpoint(fmt.Sprintf("g%d", i)) == "" {
				t.Errorf("g%d has no address", i)
			}
		})
	}
	making.Wait()
	status, header, _ := s.do("DELETE "+group, "")
	if status != 202 {
		t.Fatal(status)
	}
	within(t, func() bool { status, _, _ := s.do("GET "+group, ""); return status == 404 }, func() string { return fmt.Sprint(header) })
	if left, _ := filepath.Glob(filepath.Join(s.dir, "vms", "*")); len(left) != 0 {
		more, _ := filepath.Glob(filepath.Join(s.dir, "vms", "*", "*"))
		t.Errorf("disks are left: %v", append(left, more...))
	}
}

func within(t *testing.T, ok func() bool, why func() string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(why())
		}
	}
}

// The emulator ends in the midst of a creation; the next one finishes it.
func TestRestartOverHTTP(t *testing.T) {
	dir := t.TempDir()
	s := newService(t, dir, "real")
	s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	_, line := newRSA(t)
	vm := compute + "again"
	status, header, _ := s.do("PUT "+vm, vmBody("Standard_D1_v2", s.nets("again"), withKey(line)))
	if status != 201 {
		t.Fatal(status)
	}
	if _, _, doc := s.do("GET "+header.Get("Azure-Asyncoperation"), ""); doc["status"] != "InProgress" {
		t.Errorf("it ought to take minutes: %v", doc)
	}
	s.must(200, "GET "+vm, "")
	// A DELETE does not wait for the creation.
	status, deleting, _ := s.do("DELETE "+vm, "")
	if status != 202 {
		t.Fatal(status)
	}
	s.close()
	s = newService(t, dir, "fast")
	within(t, func() bool { status, _, _ := s.do("GET "+vm, ""); return status == 404 }, func() string { return fmt.Sprint(deleting) })
}

// raw is the answer's body, where it is no object.
func (s *service) raw(line string) string {
	s.Helper()
	method, url, _ := strings.Cut(line, " ")
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	r, err := http.NewRequestWithContext(s.Context(), method, "https://management.azure.com"+url+sep+"api-version=2018-10-01", nil)
	if err != nil {
		s.Fatal(err)
	}
	a, err := s.way.RoundTrip(r)
	if err != nil {
		s.Fatal(err)
	}
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != 200 {
		s.Fatalf("%s: %d %s %v", line, a.StatusCode, data, err)
	}
	return string(data)
}
