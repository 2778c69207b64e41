package cluster

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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

// How long YARN may take to count all nodes.
const registerLimit = 2 * time.Minute

// hadoop is how YARN and Spark run on a cluster's nodes: where they are, what
// nodes need in their environment, and who is told what.
type hadoop struct {
	cluster *Cluster
	host    bool // nodes share this host's files and loopback
	runs    bool // YARN and Spark do
	release Installation
	ports   map[string]int
	network []string // variables by which Azure's names are reached
	env     []string
	mounts  []engine.Mount
	java    []string // options of every Java machine
}

// defaultPorts are YARN's own, where the head node has an address of its own.
func defaultPorts() map[string]int {
	return map[string]int{"web": 8088, "client": 8032, "scheduler": 8030, "tracker": 8031, "admin": 8033}
}

// hadoop finds out how it is to run, and writes its configuration.
func (c *Cluster) hadoop(ctx context.Context, s Spec) (*hadoop, error) {
	kind, err := c.fleet.engineName(ctx)
	if err != nil {
		return nil, err
	}
	h := &hadoop{cluster: c, host: kind != "docker", runs: s.Hadoop && kind != "simulated", ports: defaultPorts()}
	if network := c.fleet.cfg.Network; network != nil {
		if h.network, h.mounts, err = network(ctx); err != nil {
			return nil, err
		}
	}
	h.env = h.network
	if !h.host {
		h.env = withDirect(h.env, "hn0-"+short(s.Name))
	}
	if !h.runs {
		return h, nil
	}
	if h.release, err = FindInstallation(c.fleet.cfg.Spark); err != nil {
		return nil, err
	}
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
	return &Unavailable{"there is no Java on this machine's PATH, which Spark and YARN run on", "apt-get install openjdk-17-jre-headless"}
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

// findPorts gives YARN ports of the loopback that are its own from then on, and
// others if somebody has taken one.
func (h *hadoop) findPorts(ctx context.Context) error {
	c := h.cluster
	c.mu.Lock()
	_, running := c.nodes["hn0"]
	ports := c.file.Ports
	c.mu.Unlock()
	if len(ports) > 0 && (running || allFree(ctx, ports)) {
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
	for name := range defaultPorts() {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		held = append(held, l)
		h.ports[name] = l.Addr().(*net.TCPAddr).Port
	}
	return c.save(func(f *clusterFile) { f.Ports = h.ports })
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

// start has the node's server of YARN run, if it is one that has any.
func (h *hadoop) start(ctx context.Context, n *node) error {
	if !h.runs || n.role == EdgeOf {
		return nil
	}
	name, class, heap := "resourcemanager", "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager", "256m"
	if n.role == Worker {
		name, class, heap = "nodemanager", "org.apache.hadoop.yarn.server.nodemanager.NodeManager", "192m"
	}
	command := []string{"java", "-Dproc_" + name, "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED"}
	command = append(command, h.java...)
	command = append(command, "-Dlazulite.node="+h.address(n), "-Dlazulite.disk="+n.disk(),
		fmt.Sprintf("-Dlazulite.memory=%d", max(1024, n.limits.Memory>>20*3/4)), fmt.Sprintf("-Dlazulite.cores=%d", max(1, int(n.limits.CPU))),
		"-cp", h.cluster.conf()+":"+filepath.Join(h.release.jars(), "*"), class)
	var said strings.Builder
	exit, err := n.exec(ctx, engine.Exec{Command: append([]string{"/bin/sh", "-c", superviseScript, "supervise", name, n.disk()}, command...), Dir: n.disk(), Stderr: &said})
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("starting the %s: exit status %d: %s", name, exit.Code, said.String())
	}
	return err
}

// address of a node among the others.
func (h *hadoop) address(n *node) string {
	if h.host {
		return "127.0.0.1"
	}
	return n.host()
}

// await returns when YARN counts as many nodes as there are workers.
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
			return fmt.Errorf("cluster: YARN counts %d of %d nodes (%w); its log ends: %s", n, workers, errors.Join(err, ctx.Err()), h.cluster.logTail())
		}
	}
}

// Active is how many nodes YARN counts; an error says that it does not answer.
func (c *Cluster) Active(ctx context.Context) (int, error) {
	base, err := c.ResourceManager(ctx)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/ws/v1/cluster/metrics", nil)
	if err != nil {
		return 0, err
	}
	a, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	var m struct {
		ClusterMetrics struct{ ActiveNodes int }
	}
	if err := json.NewDecoder(io.LimitReader(a.Body, 1<<20)).Decode(&m); err != nil {
		return 0, err
	}
	return m.ClusterMetrics.ActiveNodes, nil
}

// ErrNoService says that a cluster has no YARN, or none at the moment.
var ErrNoService = errors.New("cluster: the service does not run")

// ResourceManager is the URL of YARN's web services, as this host reaches them.
func (c *Cluster) ResourceManager(ctx context.Context) (string, error) {
	kind, err := c.fleet.engineName(ctx)
	if err != nil {
		return "", err
	}
	f := c.snapshot()
	c.mu.Lock()
	head := c.nodes["hn0"]
	c.mu.Unlock()
	if head == nil || kind == "simulated" || !f.Spec.Hadoop {
		return "", ErrNoService
	}
	if kind != "docker" {
		return "http://127.0.0.1:" + strconv.Itoa(f.Ports["web"]), nil
	}
	addresser, ok := head.container.(engine.Addresser)
	if !ok {
		return "", ErrNoService
	}
	at, err := addresser.Addr(ctx, defaultPorts()["web"])
	return "http://" + at, err
}

// logTail is the end of the resource manager's log.
func (c *Cluster) logTail() string {
	data, err := os.ReadFile(filepath.Join(c.shared(), "nodes", "hn0", "log", "resourcemanager.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
