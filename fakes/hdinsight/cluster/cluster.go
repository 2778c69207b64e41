package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/durable"
)

// Cluster is one cluster's nodes.
type Cluster struct {
	fleet *Fleet
	dir   string

	change sync.Mutex // one Apply or Remove at a time

	mu    sync.Mutex // of all below
	file  clusterFile
	nodes map[string]*node
	gone  bool
	// manager of the jobs; nil: none runs
	manager manager
	// configurations as they were last written
	configurations map[string]map[string]string
}

// How long a node that is taken away gives its processes.
const stopGrace = 10 * time.Second

// Spec is what the cluster was last told to be.
func (c *Cluster) Spec() Spec { return c.snapshot().Spec }

// Dir is the cluster's own folder, which goes with it.
func (c *Cluster) Dir() string { return c.dir }

func (c *Cluster) snapshot() clusterFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.file
	f.Places, f.OwnSSH, f.Ports = maps.Clone(f.Places), maps.Clone(f.OwnSSH), maps.Clone(f.Ports)
	return f
}

// save writes cluster.json after applying a change.
func (c *Cluster) save(change func(*clusterFile)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil
	}
	change(&c.file)
	data, err := json.MarshalIndent(c.file, "", " ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(c.dir, "cluster.json"), data, 0o600)
}

// writeFile puts a file in the place of another, whole or not at all.
func writeFile(file string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(file, data, mode)
}

// wanted are the nodes of a Spec, by name.
func (s Spec) wanted() map[string]*node {
	out := map[string]*node{"hn0": {name: "hn0", role: Head, size: s.HeadSize}}
	for i := range s.Workers {
		name := "wn" + strconv.Itoa(i)
		out[name] = &node{name: name, role: Worker, size: s.WorkerSize}
	}
	for _, e := range s.Edges {
		name := "ed-" + strings.ToLower(e.Name)
		out[name] = &node{name: name, role: EdgeOf, size: e.Size}
	}
	return out
}

// Apply makes the cluster what s says: nodes that are missing are started, the
// others taken away, YARN told. It returns when all is so, and may be called
// again after an error or a restart. What can't be had here by any repetition is an *Unavailable.
func (c *Cluster) Apply(ctx context.Context, s Spec) error {
	c.change.Lock()
	defer c.change.Unlock()
	// Written down first: who takes over a container must know what it is.
	if err := c.save(func(f *clusterFile) {
		s.ID, s.Edges = f.Spec.ID, f.Spec.Edges
		f.Spec, f.On = s, true
	}); err != nil {
		return err
	}
	return c.settle(ctx, s)
}

// settle makes the nodes, and waits until YARN counts them.
func (c *Cluster) settle(ctx context.Context, s Spec) error {
	h, err := c.make(ctx, s)
	if err != nil {
		return err
	}
	return h.await(ctx, s.Workers)
}

// AddEdge starts the node of an application; one that is there stays as it is.
func (c *Cluster) AddEdge(ctx context.Context, e Edge) error {
	return c.edges(ctx, func(all []Edge) []Edge {
		if slices.ContainsFunc(all, e.is) {
			return all
		}
		return append(slices.Clone(all), e)
	})
}

// RemoveEdge takes an application's node away, if there is one.
func (c *Cluster) RemoveEdge(ctx context.Context, name string) error {
	return c.edges(ctx, func(all []Edge) []Edge { return slices.DeleteFunc(slices.Clone(all), Edge{Name: name}.is) })
}

func (e Edge) is(other Edge) bool { return strings.EqualFold(e.Name, other.Name) }

func (c *Cluster) edges(ctx context.Context, change func([]Edge) []Edge) error {
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.save(func(f *clusterFile) { f.Spec.Edges = change(f.Spec.Edges) }); err != nil {
		return err
	}
	if f := c.snapshot(); f.On {
		return c.settle(ctx, f.Spec)
	}
	return nil
}

// SetGateway changes the login of the web services alone.
func (c *Cluster) SetGateway(g Gateway) error {
	return c.save(func(f *clusterFile) { f.Spec.Gateway = g })
}

// Restart takes nodes down, by their names or hosts, and starts them again.
func (c *Cluster) Restart(ctx context.Context, names []string) error {
	c.change.Lock()
	defer c.change.Unlock()
	c.mu.Lock()
	var chosen []*node
	for _, n := range c.nodes {
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, n.name) || strings.EqualFold(name, n.host()) }) {
			chosen = append(chosen, n)
		}
	}
	c.mu.Unlock()
	for _, n := range chosen {
		if err := c.dismiss(ctx, n, false); err != nil {
			return err
		}
	}
	return c.settle(ctx, c.snapshot().Spec)
}

func (c *Cluster) make(ctx context.Context, s Spec) (*hadoop, error) {
	h, err := c.hadoop(ctx, s)
	if err != nil {
		return nil, err
	}
	want := s.wanted()
	c.mu.Lock()
	var leaving []*node
	for name, n := range c.nodes {
		if w := want[name]; w == nil || w.size != n.size {
			leaving = append(leaving, n)
		}
	}
	c.mu.Unlock()
	var parting sync.WaitGroup
	errs := make([]error, len(leaving))
	for i, n := range leaving {
		parting.Go(func() { errs[i] = c.dismiss(ctx, n, want[n.name] == nil) })
	}
	parting.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// The head first: the others register there.
	if err := c.bring(ctx, want["hn0"], h); err != nil {
		return nil, err
	}
	var rest []*node
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if name != "hn0" {
			rest = append(rest, want[name])
		}
	}
	var coming sync.WaitGroup
	errs = make([]error, len(rest))
	for i, n := range rest {
		coming.Go(func() { errs[i] = c.bring(ctx, n, h) })
	}
	coming.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// bring starts a node that is not there.
func (c *Cluster) bring(ctx context.Context, n *node, h *hadoop) error {
	c.mu.Lock()
	had := c.nodes[n.name]
	c.mu.Unlock()
	if had != nil {
		if err := h.start(ctx, had); err != nil {
			return fmt.Errorf("cluster: node %s: %w", n.name, err)
		}
		return nil
	}
	n.cluster = c
	if err := n.start(ctx, h); err != nil {
		return fmt.Errorf("cluster: node %s: %w", n.name, err)
	}
	c.mu.Lock()
	c.nodes[n.name] = n
	c.mu.Unlock()
	return nil
}

// dismiss takes a node down, and its disk away if it is not to come back.
func (c *Cluster) dismiss(ctx context.Context, n *node, forGood bool) error {
	if err := n.stop(ctx, stopGrace); err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.nodes, n.name)
	c.mu.Unlock()
	if !forGood {
		return nil
	}
	if err := c.save(func(f *clusterFile) { delete(f.Places, n.name); delete(f.OwnSSH, n.name) }); err != nil {
		return err
	}
	return os.RemoveAll(n.disk())
}

// resume brings the cluster to where the last run of the emulator left it.
func (c *Cluster) resume(ctx context.Context) error {
	f := c.snapshot()
	if !f.On {
		return nil
	}
	c.change.Lock()
	defer c.change.Unlock()
	_, err := c.make(ctx, f.Spec) // YARN comes up by itself
	return err
}

// suspend ends the nodes, and leaves cluster.json as it is.
func (c *Cluster) suspend(ctx context.Context) error {
	c.change.Lock()
	defer c.change.Unlock()
	return c.stopAll(ctx, 0)
}

func (c *Cluster) stopAll(ctx context.Context, grace time.Duration) error {
	c.mu.Lock()
	nodes := slices.Collect(maps.Values(c.nodes))
	c.mu.Unlock()
	var parting sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		parting.Go(func() {
			if errs[i] = n.stop(ctx, grace); errs[i] == nil {
				c.mu.Lock()
				delete(c.nodes, n.name)
				c.mu.Unlock()
			}
		})
	}
	parting.Wait()
	return errors.Join(errs...)
}

// Remove takes the cluster and its disks away. Storage stays as it is.
func (c *Cluster) Remove(ctx context.Context) error {
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.stopAll(ctx, 0); err != nil {
		return err
	}
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	c.fleet.forget(c.file.Spec.ID)
	return nil
}

// Node is one that runs.
type Node struct {
	Name string // hn0, wn0
	Host string // its name among the nodes
	Role Role
	Size string
	// SSH is host:port of its logins; empty if it has none.
	SSH string
}

// Nodes that run, by name.
func (c *Cluster) Nodes() []Node {
	f := c.snapshot()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Node
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		n := c.nodes[name]
		shown := Node{Name: name, Host: n.host(), Role: n.role, Size: n.size}
		if p, ok := f.Places[name]; ok {
			shown.SSH = net.JoinHostPort(p.Address, strconv.Itoa(p.Port))
		}
		out = append(out, shown)
	}
	return out
}

// Place is where a node takes logins; ok is false if it does not.
func (c *Cluster) Place(name string) (address string, port int, ok bool) {
	p, ok := c.snapshot().Places[strings.ToLower(name)]
	return p.Address, p.Port, ok
}
