package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lazulite.dev/emulator/engine"
)

// Outcome of a script on one node.
type Outcome struct {
	Node   string
	Exit   int
	Output string // the end of what it printed
	Err    error  // why it did not run to its end
}

// How much of a script's output is kept.
const keptOutput = 16 << 10

// RunScript runs a script on the nodes that are chosen, all at once, as root
// where nodes are containers. Arguments are words for a shell, as clients write them.
func (c *Cluster) RunScript(ctx context.Context, name string, script []byte, arguments string, chosen func(Node) bool) []Outcome {
	c.change.Lock()
	defer c.change.Unlock()
	var out []Outcome
	var nodes []*node
	for _, shown := range c.Nodes() {
		if chosen(shown) {
			c.mu.Lock()
			nodes = append(nodes, c.nodes[shown.Name])
			c.mu.Unlock()
			out = append(out, Outcome{Node: shown.Name})
		}
	}
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { out[i].Exit, out[i].Output, out[i].Err = n.runScript(ctx, name, script, arguments) })
	}
	running.Wait()
	return out
}

func (n *node) runScript(ctx context.Context, name string, script []byte, arguments string) (code int, output string, err error) {
	file := filepath.Join(n.disk(), "scripts", strings.NewReplacer("/", "_", "\x00", "_").Replace(name))
	if err := writeFile(file, script, 0o700); err != nil {
		return 0, "", err
	}
	said := &tail{}
	exit, err := n.exec(ctx, engine.Exec{Command: []string{shell(), "-c", "exec " + shell() + ` "$0" ` + arguments, file}, Dir: n.disk(), Stdout: said, Stderr: said})
	return exit.Code, said.String(), err
}

// tail is the end of what was written to it.
type tail struct {
	mu   sync.Mutex
	data bytes.Buffer
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data.Write(b)
	if over := t.data.Len() - keptOutput; over > 0 {
		t.data.Next(over)
	}
	return len(b), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data.String()
}

// Exec runs a command on the head node, as the cluster's user.
func (c *Cluster) Exec(ctx context.Context, x engine.Exec) (engine.Exit, error) {
	c.mu.Lock()
	head := c.nodes["hn0"]
	c.mu.Unlock()
	if head == nil {
		return engine.Exit{}, ErrNoService
	}
	if x.User == "" {
		x.User = c.Spec().User
	}
	return head.exec(ctx, x)
}

// Home is the home of the cluster's user on the head node: its path there, and on this host.
func (c *Cluster) Home(ctx context.Context) (there, here string, err error) {
	c.mu.Lock()
	head := c.nodes["hn0"]
	c.mu.Unlock()
	if head == nil {
		return "", "", ErrNoService
	}
	kind, err := c.fleet.engineName(ctx)
	if err != nil {
		return "", "", err
	}
	if kind == "docker" {
		return "/home/" + c.Spec().User, head.home(), nil
	}
	return head.home(), head.home(), nil
}

// Log is a server's log on a node: resourcemanager or nodemanager.
func (c *Cluster) Log(node, server string) ([]byte, error) {
	for _, s := range []string{node, server} {
		if s == "" || s != filepath.Base(s) {
			return nil, fmt.Errorf("cluster: %q: %w", s, errors.ErrUnsupported)
		}
	}
	return os.ReadFile(filepath.Join(c.shared(), "nodes", node, "log", server+".log"))
}
