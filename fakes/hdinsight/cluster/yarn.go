package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// manager is who gives Spark's jobs their machines: YARN, or where the
// installation lacks it Spark's own master.
type manager interface {
	// ports of the head node's server, where that node has an address of its own; "web" is one of them.
	ports() map[string]int
	// sites are files of Hadoop's configuration, by name.
	sites(h *hadoop) map[string]map[string]string
	// spark is what Spark's own configuration says of it.
	spark(h *hadoop) map[string]string
	// server is what a head or worker node runs for it.
	server(h *hadoop, n *node) server
	// active counts the nodes that the head node's server has, which is asked at a URL.
	active(ctx context.Context, base string) (int, error)
}

// server is a process that a node keeps.
type server struct {
	name    string
	command []string
	env     []string
}

// yarn is Hadoop's resource manager and node managers.
type yarn struct{}

func (yarn) ports() map[string]int {
	return map[string]int{"web": 8088, "client": 8032, "scheduler": 8030, "tracker": 8031, "admin": 8033}
}

func (yarn) sites(h *hadoop) map[string]map[string]string {
	at := func(name string) string { return fmt.Sprintf("%s:%d", h.head(), h.ports[name]) }
	site := map[string]string{
		"yarn.resourcemanager.hostname":                               h.head(),
		"yarn.resourcemanager.address":                                at("client"),
		"yarn.resourcemanager.scheduler.address":                      at("scheduler"),
		"yarn.resourcemanager.resource-tracker.address":               at("tracker"),
		"yarn.resourcemanager.admin.address":                          at("admin"),
		"yarn.resourcemanager.webapp.address":                         at("web"),
		"yarn.resourcemanager.scheduler.class":                        "org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler",
		"yarn.resourcemanager.recovery.enabled":                       "true",
		"yarn.resourcemanager.store.class":                            "org.apache.hadoop.yarn.server.resourcemanager.recovery.FileSystemRMStateStore",
		"yarn.resourcemanager.fs.state-store.uri":                     "file://" + h.cluster.managerState(),
		"yarn.resourcemanager.state-store.max-completed-applications": "200",
		"yarn.am.liveness-monitor.expiry-interval-ms":                 "120000",
		"yarn.nm.liveness-monitor.expiry-interval-ms":                 "60000",
		"yarn.scheduler.minimum-allocation-mb":                        "256",
		"yarn.nodemanager.hostname":                                   "${lazulite.node}",
		"yarn.nodemanager.address":                                    "${lazulite.node}:0",
		"yarn.nodemanager.localizer.address":                          "${lazulite.node}:0",
		"yarn.nodemanager.webapp.address":                             "${lazulite.node}:0",
		"yarn.nodemanager.collector-service.address":                  "${lazulite.node}:0",
		"yarn.nodemanager.local-dirs":                                 "${lazulite.disk}/yarn",
		"yarn.nodemanager.log-dirs":                                   "${lazulite.disk}/containers",
		"yarn.nodemanager.resource.memory-mb":                         "${lazulite.memory}",
		"yarn.nodemanager.resource.cpu-vcores":                        "${lazulite.cores}",
		"yarn.nodemanager.vmem-check-enabled":                         "false",
		// Else nobody looks: it is left to control groups, which are not used.
		"yarn.nodemanager.resource.memory.enforced":                                     "false",
		"yarn.nodemanager.env-whitelist":                                                strings.Join(inherited(h), ","),
		"yarn.nodemanager.delete.debug-delay-sec":                                       "0",
		"yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99",
		"yarn.log-aggregation-enable":                                                   "true",
		"yarn.nodemanager.remote-app-log-dir":                                           "/app-logs",
	}
	capacity := map[string]string{
		"yarn.scheduler.capacity.root.queues":                          "default",
		"yarn.scheduler.capacity.root.default.capacity":                "100",
		"yarn.scheduler.capacity.root.default.maximum-capacity":        "100",
		"yarn.scheduler.capacity.maximum-am-resource-percent":          "0.5",
		"yarn.scheduler.capacity.root.default.acl_submit_applications": "*",
		"yarn.scheduler.capacity.root.default.acl_administer_queue":    "*",
	}
	return map[string]map[string]string{"yarn-site": site, "capacity-scheduler": capacity, "mapred-site": {}}
}

// inherited are the variables that what YARN runs on a node has of it, unless the
// application has others: by those of the network it reaches Azure's names.
func inherited(h *hadoop) []string {
	out := []string{"JAVA_HOME", "HADOOP_CONF_DIR", "SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_PYTHON", "SPARK_LOCAL_IP", "PATH", "LANG"}
	for _, kv := range h.network {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (yarn) spark(h *hadoop) map[string]string {
	out := map[string]string{
		"spark.master":                   "yarn",
		"spark.yarn.jars":                "local:" + filepath.Join(h.release.Home(), "jars", "*"),
		"spark.yarn.am.memory":           "512m",
		"spark.yarn.am.extraJavaOptions": strings.Join(h.java, " "),
	}
	if h.host {
		// Else driver and executors would speak over an address of the host's network.
		out["spark.yarn.appMasterEnv.SPARK_LOCAL_IP"] = "127.0.0.1"
		out["spark.executorEnv.SPARK_LOCAL_IP"] = "127.0.0.1"
	}
	return out
}

func (yarn) server(h *hadoop, n *node) server {
	name, class, heap := "resourcemanager", "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager", "256m"
	if n.role == Worker {
		name, class, heap = "nodemanager", "org.apache.hadoop.yarn.server.nodemanager.NodeManager", "192m"
	}
	command := []string{"java", "-Dproc_" + name, "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED"}
	command = append(command, h.java...)
	command = append(command, "-Dlazulite.node="+h.address(n), "-Dlazulite.disk="+n.disk(),
		fmt.Sprintf("-Dlazulite.memory=%d", n.memoryForJobs()), fmt.Sprintf("-Dlazulite.cores=%d", n.coresForJobs()),
		"-cp", h.cluster.conf()+":"+filepath.Join(h.release.jars(), "*"), class)
	return server{name: name, command: command}
}

func (yarn) active(ctx context.Context, base string) (int, error) {
	var m struct {
		ClusterMetrics struct{ ActiveNodes int }
	}
	err := readJSON(ctx, base+"/ws/v1/cluster/metrics", &m)
	return m.ClusterMetrics.ActiveNodes, err
}

// readJSON reads a document of a node's server.
func readJSON(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	a, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	return json.NewDecoder(io.LimitReader(a.Body, 1<<20)).Decode(into)
}
