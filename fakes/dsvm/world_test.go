package dsvm_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/dsvm"
)

const (
	sub      = "/subscriptions/00000000-0000-0000-0000-000000000001"
	group    = sub + "/resourceGroups/Rg"
	compute  = group + "/providers/Microsoft.Compute/virtualMachines/"
	network  = group + "/providers/Microsoft.Network/"
	user     = "azureuser"
	password = "Correct-Horse-7"
)

// world is as much of ARM as a fake can see: it stores resources, calls Admit,
// and runs reconcilers one after the other on a Manual clock.
type world struct {
	testing.TB
	dir    string // of the fake
	fake   *dsvm.Fake
	clk    *clock.Manual
	engine *engine.Process
	types  map[string]arm.Type

	mu        sync.Mutex
	resources map[string]*arm.Resource
	queue     []string
	due       map[string]time.Time
	errs      map[string]*arm.Error // how the last operation failed
	location  string                // in place of eastus2
	signer    gossh.Signer
	line      string // its authorized_keys line
}

var start = time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, dir string, change func(*dsvm.Config)) *world {
	t.Helper()
	w := &world{TB: t, dir: dir, clk: clock.NewManual(start), types: map[string]arm.Type{}, resources: map[string]*arm.Resource{}, due: map[string]time.Time{}, errs: map[string]*arm.Error{}}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if w.signer, err = gossh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	w.line = strings.TrimSpace(string(gossh.MarshalAuthorizedKey(w.signer.PublicKey())))
	// The machines' processes live in real time.
	if w.engine, err = engine.NewProcess(engine.Config{Dir: dir + "/engine"}); err != nil {
		t.Fatal(err)
	}
	cfg := dsvm.Config{Engine: w.engine, Clock: w.clk, Dir: dir, Rand: mathrand.New(mathrand.NewPCG(1, 2)), Hardware: hardware.New(hardware.Config{GPUs: func() ([]hardware.GPU, error) { return nil, nil }})}
	if change != nil {
		change(&cfg)
	}
	w.fake = dsvm.New(cfg)
	for _, p := range w.fake.Providers() {
		for _, ty := range p.Types {
			if !strings.HasPrefix(ty.Name, p.Namespace+"/") {
				t.Errorf("%s is not of %s", ty.Name, p.Namespace)
			}
			w.types[strings.ToLower(ty.Name)] = ty
		}
	}
	if err := w.fake.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(w.fake.Close(ctx), w.engine.Close(ctx)); err != nil {
		w.Errorf("Close: %v", err)
	}
}

func key(id string) string { return strings.ToLower(strings.Trim(id, "/")) }

func (w *world) kind(id string) arm.Type {
	w.Helper()
	s := strings.Split(strings.Trim(id, "/"), "/")
	name := s[5]
	for i := 6; i < len(s); i += 2 {
		name += "/" + s[i]
	}
	t, ok := w.types[strings.ToLower(name)]
	if !ok {
		w.Fatalf("%s is not declared", name)
	}
	return t
}

// Get implements arm.View.
func (w *world) Get(_ context.Context, id arm.ID) (*arm.Resource, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.resources[key(id.String())]
	if r == nil {
		return nil, &arm.Error{Status: 404, Code: "ResourceNotFound", Message: id.String()}
	}
	c := *r
	return &c, nil
}

// List implements arm.View.
func (w *world) List(_ context.Context, parent arm.ID, resourceType string) ([]*arm.Resource, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*arm.Resource
	for k, r := range w.resources {
		if strings.HasPrefix(k, key(parent.String())+"/") && strings.EqualFold(w.kind(k).Name, resourceType) {
			c := *r
			out = append(out, &c)
		}
	}
	return out, nil
}

// Enqueue implements arm.View.
func (w *world) Enqueue(id arm.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, key(id.String()))
}

// put is a PUT up to its answer; it does not run the reconciler yet.
func (w *world) put(id, version, body string) error {
	w.Helper()
	if w.location != "" {
		body = strings.ReplaceAll(body, `"eastus2"`, `"`+w.location+`"`)
	}
	parsed, err := arm.ParseID(id)
	if err != nil {
		w.Fatal(err)
	}
	var b struct {
		Location   string
		Tags       map[string]string
		SKU        json.RawMessage
		Properties json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		w.Fatal(err)
	}
	old, err := w.Get(w.Context(), parsed)
	if err != nil {
		old = nil
	}
	next := &arm.Resource{ID: parsed, Location: b.Location, Tags: b.Tags, SKU: b.SKU, Properties: b.Properties}
	if err := w.kind(id).Admit(w.Context(), w, arm.Call{Version: version}, old, next); err != nil {
		return err
	}
	next.State = "Creating"
	if old != nil {
		next.State = "Updating"
	}
	w.store(next)
	w.Enqueue(parsed)
	return nil
}

func (w *world) store(r *arm.Resource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resources[key(r.ID.String())] = r
}

func (w *world) must(id, body string) {
	w.Helper()
	if err := w.put(id, "2018-10-01", body); err != nil {
		w.Fatalf("PUT %s: %v", id, err)
	}
}

// at puts things elsewhere.
func (w *world) at(location string, do func()) {
	w.location = location
	defer func() { w.location = "" }()
	do()
}

// act is POST {id}/{name} up to its answer.
func (w *world) act(id, name string) error {
	w.Helper()
	parsed, _ := arm.ParseID(id)
	r, err := w.Get(w.Context(), parsed)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.kind(id).Actions[name].Begin(w.Context(), w, arm.Call{}, r); err != nil {
		return err
	}
	r.State = "Updating"
	w.store(r)
	w.Enqueue(parsed)
	return nil
}

// delete is DELETE up to its answer; admitted leaves the last word of the type out.
func (w *world) delete(id string, admitted ...bool) {
	w.Helper()
	parsed, _ := arm.ParseID(id)
	r, err := w.Get(w.Context(), parsed)
	if err != nil {
		w.Fatal(err)
	}
	if last := w.kind(id).AdmitDelete; last != nil && admitted == nil {
		var refused *arm.Error
		if err := last(w.Context(), w, arm.Call{}, r); errors.As(err, &refused) {
			w.errs[key(id)] = refused
			return
		} else if err != nil {
			w.Fatal(err)
		}
	}
	r.Deleting, r.State = true, "Deleting"
	w.store(r)
	w.Enqueue(parsed)
}

// step runs what is due, or advances to what is next; false when all is quiet.
func (w *world) step() bool {
	w.Helper()
	w.mu.Lock()
	if len(w.queue) == 0 {
		var first time.Time
		for _, at := range w.due {
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
		for id, at := range w.due {
			if at.Equal(first) {
				w.queue = append(w.queue, id)
				delete(w.due, id)
			}
		}
		if d := first.Sub(w.clk.Now()); !first.IsZero() && d > 0 {
			w.clk.Advance(d)
		}
	}
	if len(w.queue) == 0 {
		w.mu.Unlock()
		return false
	}
	id := w.queue[0]
	w.queue = w.queue[1:]
	delete(w.due, id)
	w.mu.Unlock()
	w.reconcile(id)
	return true
}

func (w *world) reconcile(id string) {
	w.Helper()
	parsed, _ := arm.ParseID("/" + id)
	r, err := w.Get(w.Context(), parsed)
	if err != nil {
		return
	}
	result, err := arm.Result{Done: true}, error(nil)
	if rec := w.kind(id).Reconciler; rec != nil {
		result, err = rec.Reconcile(w.Context(), w, r)
	}
	var final *arm.Error
	for _, made := range result.Create {
		if w.show(made.ID.String()) == nil {
			made.State = "Creating"
			w.store(made)
			w.Enqueue(made.ID)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case errors.As(err, &final):
		w.errs[id] = final
		r.State, r.Deleting = "Failed", false
	case err != nil:
		w.Errorf("%s: %v", id, err)
		return
	case !result.Done:
		w.due[id] = w.clk.Now().Add(result.RequeueAfter)
	case r.Deleting:
		delete(w.resources, id)
		return
	default:
		delete(w.errs, id)
		r.State = "Succeeded"
	}
	w.resources[id] = r
}

// settle runs until all is quiet.
func (w *world) settle() {
	w.Helper()
	for n := 0; w.step(); n++ {
		if n > 100000 {
			w.Fatal("it never settles")
		}
	}
}

// show is GET, with the instance view where there is one.
func (w *world) show(id string) map[string]any {
	w.Helper()
	parsed, _ := arm.ParseID(id)
	r, err := w.Get(w.Context(), parsed)
	if err != nil {
		return nil
	}
	var wire any = map[string]any{"properties": json.RawMessage(r.Properties), "tags": r.Tags}
	if render := w.kind(id).Render; render != nil {
		if wire, err = render(arm.Call{View: w, Query: map[string][]string{"$expand": {"instanceView"}}}, r); err != nil {
			w.Fatal(err)
		}
	}
	data, err := json.Marshal(wire)
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		w.Fatal(err)
	}
	return out
}

// query asks what the fake's Query of a pattern answers.
func (w *world) query(pattern string, c arm.Call) (map[string]any, error) {
	w.Helper()
	for _, p := range w.fake.Providers() {
		for _, q := range p.Queries {
			if q.Pattern == pattern {
				v, err := q.Do(w.Context(), c)
				data, _ := json.Marshal(v)
				out := map[string]any{}
				_ = json.Unmarshal(data, &out)
				return out, err
			}
		}
	}
	w.Fatalf("no %s", pattern)
	return nil, nil
}

// at follows a path like "properties.subnets.0.name".
func at(v any, path string) any {
	for _, p := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			var i int
			if _, err := fmt.Sscan(p, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (w *world) power(vm string) string {
	w.Helper()
	code, _ := at(w.show(vm), "properties.instanceView.statuses.1.code").(string)
	return strings.TrimPrefix(code, "PowerState/")
}

// nets makes the network, address and interface that a VM needs.
func (w *world) nets(name string) (nic string) {
	w.Helper()
	if w.show(network+"virtualNetworks/vnet") == nil {
		w.must(network+"virtualNetworks/vnet", `{"location":"eastus2","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"default","properties":{"addressPrefix":"10.0.0.0/24"}}]}}`)
	}
	w.must(network+"publicIPAddresses/"+name+"-ip", `{"location":"eastus2","properties":{"publicIPAllocationMethod":null}}`)
	nic = network + "networkInterfaces/" + name + "-nic"
	w.must(nic, `{"location":"eastus2","properties":{"ipConfigurations":[{"name":"ipconfig","properties":{"subnet":{"id":"`+network+`virtualNetworks/vnet/subnets/default"},"publicIPAddress":{"id":"`+network+`publicIPAddresses/`+name+`-ip"}}}]}}`)
	return nic
}

func vmBody(size, nic, profile string) string {
	return `{"location":"eastus2","tags":{"a":"b"},"properties":{"hardwareProfile":{"vmSize":"` + size + `"},
 "storageProfile":{"imageReference":{"publisher":"microsoft-ads","offer":"linux-data-science-vm-ubuntu","sku":"linuxdsvmubuntu","version":"latest"},"osDisk":{"createOption":"FromImage","name":null}},
 "osProfile":` + profile + `,"networkProfile":{"networkInterfaces":[{"id":"` + nic + `"}]}}}`
}

const withPassword = `{"computerName":"vm","adminUsername":"` + user + `","adminPassword":"` + password + `"}`

func withKey(line string) string {
	return `{"adminUsername":"` + user + `","linuxConfiguration":{"disablePasswordAuthentication":true,"ssh":{"publicKeys":[{"path":"/home/` + user + `/.ssh/authorized_keys","keyData":"` + line + ` me@here"}]}}}`
}

// create makes a VM with all that it needs and waits until it is there.
func (w *world) create(name string) (vm string) {
	w.Helper()
	vm = compute + name
	// A key of the kind that later versions take, for it is quick to make.
	if err := w.put(vm, "2024-03-01", vmBody("Standard_DS1_v2", w.nets(name), withKey(w.line))); err != nil {
		w.Fatal(err)
	}
	w.settle()
	if e := w.errs[key(vm)]; e != nil {
		w.Fatalf("%s: %v", name, e)
	}
	return vm
}

// endpoint is where the public address of a VM says that SSH is.
func (w *world) endpoint(name string) string {
	w.Helper()
	ip := w.show(network + "publicIPAddresses/" + name + "-ip")
	address, _ := at(ip, "properties.ipAddress").(string)
	if address == "" {
		return ""
	}
	port, ok := at(ip, "tags."+dsvm.PortTag).(string)
	if !ok {
		port = "22"
	}
	return net.JoinHostPort(address, port)
}

func dial(endpoint string, auth ...gossh.AuthMethod) (*gossh.Client, gossh.PublicKey, error) {
	if len(auth) == 0 {
		auth = []gossh.AuthMethod{gossh.Password(password)}
	}
	var host gossh.PublicKey
	c, err := gossh.Dial("tcp", endpoint, &gossh.ClientConfig{User: user, Auth: auth, Timeout: 20 * time.Second, HostKeyCallback: func(_ string, _ net.Addr, k gossh.PublicKey) error {
		host = k
		return nil
	}})
	return c, host, err
}

func (w *world) dial(endpoint string) (*gossh.Client, gossh.PublicKey, error) {
	return dial(endpoint, gossh.PublicKeys(w.signer), gossh.Password(password))
}

// ssh runs a command on a VM.
func (w *world) ssh(name, command string) string {
	w.Helper()
	c, _, err := w.dial(w.endpoint(name))
	if err != nil {
		w.Fatalf("ssh to %s: %v", name, err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		w.Fatal(err)
	}
	out, err := s.CombinedOutput(command)
	if err != nil {
		w.Errorf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}
