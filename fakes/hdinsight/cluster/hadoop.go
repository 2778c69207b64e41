package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
)

//go:embed supervise.sh
var superviseScript string

// How long the manager may take to count all nodes.
const registerLimit = 2 * time.Minute

// hadoop is how Spark and its manager run on a cluster's nodes: where they are,
// what nodes need in their environment, and who is told what.
type hadoop struct {
	cluster *Cluster
	host    bool // nodes share this host's files and loopback
	runs    bool // Spark does
	release Installation
	manager manager
	ports   map[string]int
	network []string // variables by which Azure's names are reached
	env     []string
	mounts  []engine.Mount
	java    []string // options of every Java machine
}

// hadoop finds out how it is to run, and writes its configuration.
func (c *Cluster) hadoop(ctx context.Context, s Spec) (*hadoop, error) {
	kind, err := c.fleet.engineName(ctx)
	if err != nil {
		return nil, err
	}
	h := &hadoop{cluster: c, host: kind != "docker", runs: s.Hadoop && kind != "simulated"}
	if network := c.fleet.cfg.Network; network != nil {
		if h.network, h.mounts, err = network(ctx); err != nil {
			return nil, err
		}
	}
	h.env = h.network
	if !h.host {
		h.env = withDirect(h.env, "hn0-"+short(s.Name))
	}
	c.mu.Lock()
	c.manager = nil
	c.mu.Unlock()
	if !h.runs {
		return h, nil
	}
	if h.release, err = FindInstallation(c.fleet.cfg.Spark); err != nil {
		return nil, err
	}
	h.manager = h.release.manager()
	h.ports = h.manager.ports()
	c.mu.Lock()
	c.manager = h.manager
	c.mu.Unlock()
	h.mounts = append(slices.Clone(h.mounts), engine.Mount{Source: h.release.Dir, Target: h.release.Dir, ReadOnly: true})
	if h.host {
		if err := h.findJava(); err != nil {
			return nil, err
		}
		if err := h.findPorts(ctx); err != nil {
			return nil, err
		}
	}
	if err := h.configure(s); err != nil {
		return nil, err
	}
	h.env = append(slices.Clone(h.env), h.sparkEnv(s)...)
	return h, nil
}

// findJava looks for it where nodes will.
func (h *hadoop) findJava() error {
	path := value(h.env, "PATH")
	for _, dir := range filepath.SplitList(path) {
		if _, err := exec.LookPath(filepath.Join(dir, "java")); err == nil {
			return nil
		}
	}
	if _, err := exec.LookPath("java"); path == "" && err == nil {
		return nil
	}
	return &Unavailable{"there is no Java on this machine's PATH, which Spark runs on", "apt-get install openjdk-17-jre-headless"}
}

func value(env []string, name string) string {
	found := ""
	for _, kv := range env {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			found = v
		}
	}
	return found
}

// withDirect has clients speak to the nodes themselves without a proxy.
func withDirect(env []string, hosts ...string) []string {
	out := slices.Clone(env)
	for i, kv := range out {
		if name, _, _ := strings.Cut(kv, "="); strings.EqualFold(name, "no_proxy") {
			out[i] += "," + strings.Join(hosts, ",")
		}
	}
	return out
}

func short(name string) string {
	name = strings.ToLower(name)
	return name[:min(len(name), 6)]
}

// findPorts gives the manager ports of the loopback that are its own from then on, and
// others if somebody has taken one.
func (h *hadoop) findPorts(ctx context.Context) error {
	c := h.cluster
	c.mu.Lock()
	_, running := c.nodes["hn0"]
	ports := c.file.Ports
	c.mu.Unlock()
	if sameKeys(ports, h.manager.ports()) && (running || allFree(ctx, ports)) {
		h.ports = ports
		return nil
	}
	h.ports = map[string]int{}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for name := range h.manager.ports() {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		held = append(held, l)
		h.ports[name] = l.Addr().(*net.TCPAddr).Port
	}
	return c.save(func(f *clusterFile) { f.Ports = h.ports })
}

func sameKeys(a, b map[string]int) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
}

func allFree(ctx context.Context, ports map[string]int) bool {
	for _, p := range ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func (c *Cluster) conf() string { return filepath.Join(c.shared(), "conf") }

// storage is what the nodes' file system begins with where no driver of storage accounts is installed.
func (c *Cluster) storage() string { return filepath.Join(c.shared(), "storage") }

// managerState is where the head node's server keeps what it must know after a restart.
func (c *Cluster) managerState() string { return filepath.Join(c.shared(), "nodes", "hn0", "state") }

func (c *Cluster) tools() string { return filepath.Join(c.shared(), "bin") }

// explain adds what to do where an engine has no image for nodes.
func (h *hadoop) explain(err error) error {
	if errors.Is(err, engine.ErrNoImage) && h.runs {
		return &Unavailable{fmt.Sprintf("there is no image with a Java for the cluster's nodes (%v)", err), "lazulite images build --spark"}
	}
	return err
}

// prepare puts the tools where HDInsight has them, in a node that has files of its own.
func (h *hadoop) prepare(ctx context.Context, n *node) error {
	if !h.runs || h.host {
		return nil
	}
	const script = `command -v java >/dev/null || exit 3
mkdir -p /usr/hdp/current /etc/hadoop /etc/spark2
ln -sfn "$1" /usr/hdp/current/spark2-client
ln -sfn "$2" /etc/hadoop/conf
ln -sfn "$2" /etc/spark2/conf
for f in "$3"/*; do ln -sf "$f" /usr/bin/; done`
	var said strings.Builder
	exit, err := n.exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-ec", script, "prepare", h.release.Home(), h.cluster.conf(), h.cluster.tools()}, Dir: "/", Stderr: &said})
	switch {
	case err != nil:
		return err
	case exit.Code == 3:
		return &Unavailable{"the image of the cluster's nodes has no Java", "lazulite images build --spark"}
	case exit.Code != 0:
		return fmt.Errorf("preparing a node: exit status %d: %s", exit.Code, said.String())
	}
	return nil
}

// start has the node's server run, if it is one that has any.
func (h *hadoop) start(ctx context.Context, n *node) error {
	if !h.runs || n.role == EdgeOf {
		return nil
	}
	s := h.manager.server(h, n)
	var said strings.Builder
	exit, err := n.exec(ctx, engine.Exec{Command: append([]string{"/bin/sh", "-c", superviseScript, "supervise", s.name, n.disk()}, s.command...),
		Env: s.env, Dir: n.disk(), Stderr: &said})
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("starting the %s: exit status %d: %s", s.name, exit.Code, said.String())
	}
	return err
}

// head is the head node's address among the others.
func (h *hadoop) head() string {
	if h.host {
		return "127.0.0.1"
	}
	return "hn0-" + short(h.cluster.Spec().Name)
}

// address of a node among the others.
func (h *hadoop) address(n *node) string {
	if h.host {
		return "127.0.0.1"
	}
	return n.host()
}

// await returns when the manager counts as many nodes as there are workers.
func (h *hadoop) await(ctx context.Context, workers int) error {
	if !h.runs {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, registerLimit)
	defer cancel()
	for {
		n, err := h.cluster.Active(ctx)
		if err == nil && n == workers {
			return nil
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("cluster: %d of %d nodes are counted (%w); the log of the head node's server ends: %s", n, workers, errors.Join(err, ctx.Err()), h.logTail())
		}
	}
}

// ErrNoService says that a cluster has no YARN and no Spark, or none at the moment.
var ErrNoService = errors.New("cluster: the service does not run")

// Active is how many nodes YARN counts, or Spark's own master; an error says that it does not answer.
func (c *Cluster) Active(ctx context.Context) (int, error) {
	base, manager, err := c.web(ctx)
	if err != nil {
		return 0, err
	}
	return manager.active(ctx, base)
}

// HasYARN says whether the cluster's jobs run on YARN.
func (c *Cluster) HasYARN() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.manager.(yarn)
	return ok
}

// ResourceManager is the URL of YARN's web services, as this host reaches them;
// an *Unavailable where the cluster runs without YARN.
func (c *Cluster) ResourceManager(ctx context.Context) (string, error) {
	base, manager, err := c.web(ctx)
	if _, alone := manager.(standalone); alone {
		return "", &Unavailable{"the cluster has no YARN: its jobs run on Spark's own master", "lazulite spark install"}
	}
	return base, err
}

// web is the URL of the web services of the head node's server.
func (c *Cluster) web(ctx context.Context) (string, manager, error) {
	kind, err := c.fleet.engineName(ctx)
	if err != nil {
		return "", nil, err
	}
	c.mu.Lock()
	head, manager, ports := c.nodes["hn0"], c.manager, c.file.Ports
	c.mu.Unlock()
	if head == nil || manager == nil {
		return "", manager, ErrNoService
	}
	if kind != "docker" {
		return "http://127.0.0.1:" + strconv.Itoa(ports["web"]), manager, nil
	}
	addresser, ok := head.container.(engine.Addresser)
	if !ok {
		return "", manager, ErrNoService
	}
	at, err := addresser.Addr(ctx, manager.ports()["web"])
	return "http://" + at, manager, err
}

// logTail is the end of the log of the head node's server.
func (h *hadoop) logTail() string {
	head := &node{cluster: h.cluster, name: "hn0", role: Head}
	data, err := os.ReadFile(filepath.Join(head.disk(), "log", h.manager.server(h, head).name+".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
