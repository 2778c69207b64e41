package clients_test

import (
	"strings"
	"testing"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
)

const hdiPassword = "Correct-Horse7"

// hadoop is az, and an emulator whose clusters' nodes run nothing: here it is
// judged what the resource manager answers; Spark has tests of its own.
func hadoop(t *testing.T, c client) azure {
	return hadoopOn(t, c, func(cfg *emulator.Config) { cfg.Engine = engine.NewSimulated(engine.Config{}) })
}

func hadoopOn(t *testing.T, c client, change ...func(*emulator.Config)) azure {
	bin := c.bin(t)
	t.Parallel()
	e := up(t, change...)
	a := azure{t, bin, append(environ(t, e, bin), "AZURE_CONFIG_DIR="+t.TempDir())}
	login(a, e, "hdi", "eastus")
	a.run("storage", "account", "create", "-g", "hdi", "-n", "hdistore", "-l", "eastus", "--sku", "Standard_LRS")
	return a
}

// TestAz2018HDInsight has all verbs of az hdinsight 0.1.0.
func TestAz2018HDInsight(t *testing.T) {
	a := hadoop(t, az2018)
	create := []string{"hdinsight", "create", "-g", "hdi", "--http-password", hdiPassword, "--storage-account", "hdistore.blob.core.windows.net"}
	if got := a.query("[properties.clusterState,properties.clusterDefinition.kind,properties.quotaInfo.coresUsed]", append(create, "-n", "spark2018", "-t", "spark")...); got != `["Running","spark",20]` {
		t.Errorf("create: %s", got)
	}
	a.run("hdinsight", "resize", "-g", "hdi", "-n", "spark2018", "--target-instance-count", "2")
	if got := a.query("properties.computeProfile.roles[?name=='workernode'].targetInstanceCount", "hdinsight", "show", "-g", "hdi", "-n", "spark2018"); got != `[2]` {
		t.Errorf("resize: %s", got)
	}
	a.run("hdinsight", "wait", "-g", "hdi", "-n", "spark2018", "--custom", "properties.clusterState=='Running'")
	for _, scope := range [][]string{nil, {"-g", "hdi"}} {
		if got := a.query("[].name", append([]string{"hdinsight", "list"}, scope...)...); got != `["spark2018"]` {
			t.Errorf("list: %s", got)
		}
	}
	a.fails("Cluster name", append(create, "-n", "a", "-t", "spark")...)
	a.fails("Version capability not available for version '3.4'", append(create, "-n", "other", "-t", "spark", "-v", "3.4")...)
	a.fails("Cluster type 'flink'", append(create, "-n", "other", "-t", "flink")...)
	a.fails("must be at least 1", "hdinsight", "resize", "-g", "hdi", "-n", "spark2018", "--target-instance-count", "0")
	a.fails("does not meet the policy", "hdinsight", "create", "-g", "hdi", "-n", "other", "-t", "spark", "--http-password", "weak", "--storage-account", "hdistore.blob.core.windows.net")
	a.fails("does not have cores left", append(create, "-n", "other", "-t", "spark", "--size", "60")...)
	a.run("hdinsight", "delete", "-g", "hdi", "-n", "spark2018", "--yes")
	if got := a.query("[].name", "hdinsight", "list"); got != `[]` {
		t.Errorf("list after the delete: %s", got)
	}
}

// TestAzNewHDInsight has today's az, with what came after 2018.
func TestAzNewHDInsight(t *testing.T) {
	a := hadoop(t, azNew)
	on := func(verb ...string) []string { return append(append([]string{"hdinsight"}, verb...), "-g", "hdi") }
	create := append(on("create"), "-p", hdiPassword, "-u", "admin", "--storage-account", "hdistore", "--headnode-size", "large", "--workernode-size", "large", "-t", "spark")
	if got := a.query("properties.clusterState", append(create, "-n", "sparknew", "-c", "2")...); got != `"Running"` {
		t.Errorf("create: %s", got)
	}
	a.run(append(on("resize"), "-n", "sparknew", "--workernode-count", "1")...)
	a.run(append(on("update"), "-n", "sparknew", "--tags", "a=b")...)
	if got := a.query("[properties.quotaInfo.coresUsed,tags.a]", append(on("show"), "-n", "sparknew")...); got != `[12,"b"]` {
		t.Errorf("show: %s", got)
	}
	if got := a.query("value[0].currentValue", "hdinsight", "list-usage", "-l", "eastus"); got != `12` {
		t.Errorf("list-usage: %s", got)
	}
	if got := a.query("length(@)", append(on("host", "list"), "--cluster-name", "sparknew")...); got != `2` {
		t.Errorf("host list: %s", got)
	}
	a.run(append(on("host", "restart"), "--cluster-name", "sparknew", "--host-names", "wn0-sparkn", "--yes")...)
	if got := a.query("clusterMonitoringEnabled", append(on("monitor", "show"), "-n", "sparknew")...); got != `false` {
		t.Errorf("monitor show: %s", got)
	}
	a.run(append(on("credentials", "update"), "-n", "sparknew", "--http-password", "Changed-Horse8", "--yes")...)
	if all := a.query("@", append(on("credentials", "show"), "-n", "sparknew")...); !strings.Contains(all, "Changed-Horse8") {
		t.Errorf("credentials show: %s", all)
	}
	a.run(append(on("delete"), "-n", "sparknew", "--yes")...)
}

// TestAzNewHDInsightNodes has what runs on nodes, which are processes of this
// host: script actions and applications; and monitoring, and what is refused.
func TestAzNewHDInsightNodes(t *testing.T) {
	a := hadoopOn(t, azNew)
	on := func(verb ...string) []string { return append(append([]string{"hdinsight"}, verb...), "-g", "hdi") }
	of := func(verb ...string) []string { return append(on(verb...), "--cluster-name", "kafka1") }
	a.run(append(on("create"), "-n", "kafka1", "-t", "kafka", "-p", hdiPassword, "-u", "admin", "--ssh-user", "sshuser", "--ssh-password", hdiPassword, "--storage-account", "hdistore",
		"--headnode-size", "large", "--workernode-size", "large", "--zookeepernode-size", "large", "-c", "1", "--workernode-data-disks-per-node", "1")...)
	const script = "https://hdiconfigactions.blob.core.windows.net/linuxhueconfigactionv02/install-hue-uber-v02.sh"
	a.run(append(of("script-action", "execute"), "-n", "hue", "--script-uri", script, "--roles", "headnode", "workernode", "--persist-on-success")...)
	a.fails("cannot be accessed", append(of("script-action", "execute"), "-n", "none", "--script-uri", script+".none", "--roles", "headnode")...)
	if got := a.query("[].name", of("script-action", "list")...); got != `["hue"]` {
		t.Errorf("script-action list: %s", got)
	}
	if got := a.query("[].[name,status,executionSummary[0].instanceCount]", of("script-action", "list-execution-history")...); got != `[["hue","Succeeded",2]]` {
		t.Errorf("script-action list-execution-history: %s", got)
	}
	id := a.query("[0].scriptExecutionId", of("script-action", "list-execution-history")...)
	if got := a.query("status", append(of("script-action", "show-execution-details"), "--execution-id", id)...); got != `"Succeeded"` {
		t.Errorf("script-action show-execution-details: %s", got)
	}
	a.run(append(of("script-action", "delete"), "-n", "hue")...)
	a.run(append(of("script-action", "promote"), "--execution-id", id)...)
	if got := a.query("[].name", of("script-action", "list")...); got != `["hue"]` {
		t.Errorf("script-action list after promote: %s", got)
	}
	a.run(append(of("application", "create"), "-n", "app1", "--script-uri", script, "--script-action-name", "install", "--edgenode-size", "large")...)
	a.run(append(of("application", "wait"), "-n", "app1", "--created")...)
	if got := a.query("properties.applicationState", append(of("application", "show"), "-n", "app1")...); got != `"Running"` {
		t.Errorf("application show: %s", got)
	}
	a.run(append(of("application", "delete"), "-n", "app1", "--yes")...)
	if got := a.query("[].name", of("application", "list")...); got != `[]` {
		t.Errorf("application list after the delete: %s", got)
	}

	a.run("monitor", "log-analytics", "workspace", "create", "-g", "hdi", "-n", "laws1", "-l", "eastus")
	for _, kind := range []string{"monitor", "azure-monitor", "azure-monitor-agent"} {
		a.run(append(on(kind, "enable"), "-n", "kafka1", "--workspace", "laws1")...)
		if got := a.query("clusterMonitoringEnabled", append(on(kind, "show"), "-n", "kafka1")...); got != `true` {
			t.Errorf("%s show: %s", kind, got)
		}
		a.run(append(on(kind, "disable"), "-n", "kafka1")...)
	}
	a.fails("Autoscale is not available", append(of("autoscale", "create"), "--type", "Load", "--min-workernode-count", "1", "--max-workernode-count", "3", "--yes")...)
	a.fails("customer-managed key is not enabled", append(on("rotate-disk-encryption-key"), "-n", "kafka1", "--encryption-key-name", "k", "--encryption-key-version", "v", "--encryption-vault-uri", "https://v.vault.azure.net")...)
	a.run(append(on("delete"), "-n", "kafka1", "--yes")...)
}
