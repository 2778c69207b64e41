package emulator_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
	"lazulite.dev/emulator/engine"
)

const clusterPassword = "Correct-Horse7"

// sparkFolder is where this machine has Spark and YARN; the test is skipped if it hasn't.
func sparkFolder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("LAZULITE_SPARK")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "lazulite", "spark")
	}
	if _, yarn, err := emulator.FindSpark(dir); err != nil {
		t.Skip(err)
	} else if yarn == "" {
		t.Skip("Spark was installed without YARN")
	}
	return dir
}

const clusterVersion = "?api-version=2018-06-01-preview"

// cluster makes a group, a storage account and a Spark cluster on it, and waits until it is up.
func (c *client) cluster(name string, workers int) {
	c.t.Helper()
	c.must(201, "PUT {G}", `{"location":"eastus2"}`)
	c.must(202, "PUT {P}/Microsoft.Storage/storageAccounts/hdistore", storageBody)
	c.state("{P}/Microsoft.Storage/storageAccounts/hdistore", "Succeeded")
	key := c.must(200, "POST {P}/Microsoft.Storage/storageAccounts/hdistore/listKeys", "").text("keys.0.value")
	login := map[string]any{"linuxOperatingSystemProfile": map[string]any{"username": "sshuser", "password": clusterPassword}}
	role := func(name string, n int) map[string]any {
		return map[string]any{"name": name, "targetInstanceCount": n, "hardwareProfile": map[string]any{"vmSize": "large"}, "osProfile": login}
	}
	c.must(200, "PUT {P}/Microsoft.HDInsight/clusters/"+name+clusterVersion, map[string]any{"location": "eastus2", "properties": map[string]any{
		"clusterVersion": "default", "osType": "Linux",
		"clusterDefinition": map[string]any{"kind": "spark", "configurations": map[string]any{"gateway": map[string]any{
			"restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": clusterPassword}}},
		"storageProfile": map[string]any{"storageaccounts": []any{map[string]any{"name": "hdistore.blob.core.windows.net", "isDefault": true, "container": "data", "key": key}}},
		"computeProfile": map[string]any{"roles": []any{role("headnode", 2), role("workernode", workers)}}}})
	c.clusterUp(name)
}

func (c *client) clusterUp(name string) {
	c.t.Helper()
	clocktest.Missing(c.t, 4*time.Minute, func() string {
		a := c.do("GET {P}/Microsoft.HDInsight/clusters/"+name+clusterVersion, nil)
		if s := a.text("properties.provisioningState"); s != "Succeeded" {
			if s == "Failed" {
				c.t.Fatalf("the cluster fails: %s", a)
			}
			return "the cluster is " + s
		}
		return ""
	})
}

// ssh logs in to a cluster by its name, through the proxy.
func clusterLogin(t testing.TB, proxy, name string) *ssh.Client {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	host := name + "-ssh.azurehdinsight.net:22"
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
	r := bufio.NewReader(conn)
	a, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT %s: %v %v", host, a, err)
	}
	early, _ := r.Peek(r.Buffered())
	c, chans, reqs, err := ssh.NewClientConn(&headed{conn, bytes.NewReader(early)}, host, &ssh.ClientConfig{User: "sshuser", Auth: []ssh.AuthMethod{ssh.Password(clusterPassword)},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// headed is a connection of which some was read ahead.
type headed struct {
	net.Conn
	early *bytes.Reader
}

func (h *headed) Read(p []byte) (int, error) {
	if h.early.Len() > 0 {
		return h.early.Read(p)
	}
	return h.Conn.Read(p)
}

// sh runs a command on the head node and gives what it printed, and its exit status.
func sh(t testing.TB, client *ssh.Client, command string) (out, said string, code int) {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	err = s.Run(command)
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitStatus()
	case err != nil:
		t.Fatalf("%s: %v\n%s", command, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), stderr.String(), code
}

// put writes a file on the head node.
func put(t testing.TB, client *ssh.Client, file, text string) {
	t.Helper()
	if _, said, code := sh(t, client, "cat >"+file+" <<'EOF-OF-TEST'\n"+text+"\nEOF-OF-TEST"); code != 0 {
		t.Fatal(said)
	}
}

// gateway asks a cluster's gateway.
func (c *client) gateway(status int, name, path string) answer {
	c.t.Helper()
	return c.must(status, "GET https://"+name+".azurehdinsight.net"+path+"!", nil, "Authorization: "+basic("admin", clusterPassword))
}

// livy asks the Livy of a cluster.
func (c *client) livy(status int, name, line, body string) answer {
	c.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	return c.must(status, method+" https://"+name+".azurehdinsight.net"+path+"!", body, "Authorization: "+basic("admin", clusterPassword), "X-Requested-By: admin")
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// asking has each executor say which machine it is, and read by Azure's own
// names: a public document of the resource manager, and a file of the cluster's storage.
const asking = `
import socket, sys, urllib.request
from pyspark import SparkContext
sc = SparkContext(appName="asking")
def ask(_):
    with urllib.request.urlopen("https://management.azure.com/metadata/endpoints?api-version=2015-01-01") as r:
        return "%s %d" % (socket.gethostname(), r.status)
for line in sorted(set(sc.parallelize(range(8), 8).map(ask).collect())):
    print("ASKED", line)
sc.parallelize(["kept"], 1).saveAsTextFile("/kept/" + sys.argv[1])
print("READ", sc.textFile("wasb://data@hdistore.blob.core.windows.net/kept/" + sys.argv[1]).collect())
`

// TestSparkContainers has nodes that are containers, each a machine of its own:
// a job's executors, and its driver where YARN runs that, reach Azure's names.
func TestSparkContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a cluster for a minute")
	}
	spark, nodes := sparkFolder(t), sparkContainers(t)
	e, c := up(t, func(cfg *emulator.Config) {
		cfg.Spark, cfg.Engine, cfg.SparkImage = spark, nodes, sparkImage
	})
	c.cluster("sparky", 2)
	head := clusterLogin(t, e.Addr(), "sparky")
	put(t, head, "asking.py", asking)
	out, said, code := sh(t, head, "spark-submit --num-executors 2 asking.py client")
	if code != 0 || !strings.Contains(out, "ASKED wn0-sparky 200\nASKED wn1-sparky 200") || !strings.Contains(out, "READ ['kept']") {
		t.Errorf("deploy mode client ends with %d: %s\n%s", code, out, last(said))
	}
	_, said, code = sh(t, head, "spark-submit --deploy-mode cluster --num-executors 1 --conf spark.yarn.maxAppAttempts=1 asking.py cluster")
	if code != 0 {
		t.Errorf("deploy mode cluster ends with %d: %s", code, last(said))
	}
	// The nodes bring its log when it has ended.
	clocktest.Missing(t, 2*time.Minute, func() string {
		out, said, _ := sh(t, head, "hdfs dfs -cat /kept/cluster/part-00000; yarn logs -applicationId $(yarn application -list -appStates ALL 2>/dev/null | grep -o 'application_[0-9_]*' | sort | tail -n 1)")
		if !strings.Contains(out, "kept\n") || !strings.Contains(out, "ASKED wn") || !strings.Contains(out, "READ ['kept']") {
			return fmt.Sprintf("its log, and what it kept: %s\n%s", out, last(said))
		}
		return ""
	})
	out, said, code = sh(t, head, `hadoop version && spark-submit "$SPARK_HOME/examples/src/main/python/pi.py" 2`)
	if code != 0 || !strings.Contains(out, "Pi is roughly 3.1") {
		t.Errorf("pi ends with %d: %s\n%s", code, out, last(said))
	}
}

const sparkImage = "lazulite/spark:latest"

// sparkContainers is the Docker engine, or the test is skipped with the reason.
func sparkContainers(t *testing.T) engine.Engine {
	t.Helper()
	d := openDocker(t)
	if out, err := exec.Command("docker", "image", "inspect", "-f", "{{.Id}}", sparkImage).CombinedOutput(); err != nil {
		t.Skipf("there is no %s: run lazulite images build --spark (%s)", sparkImage, strings.TrimSpace(string(out)))
	}
	return d
}

func last(s string) string { return s[max(0, len(s)-2500):] }

// TestKilledSpark kills the emulator in mid-job: after the next start the
// cluster is there, YARN has tried the job again, as it does when a node is lost,
// or failed it and tells why, and another job runs.
func TestKilledSpark(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a cluster for a minute")
	}
	spark := sparkFolder(t)
	t.Setenv("LAZULITE_SPARK", spark)
	v := newVictim(t)
	v.live()
	c := v.client()
	c.cluster("sparky", 1)
	head := clusterLogin(t, v.listen, "sparky")
	put(t, head, "long.py", "import time\nfrom pyspark import SparkContext\nsc = SparkContext(appName='long')\nsc.parallelize(range(2), 2).map(lambda x: time.sleep(600)).collect()")
	go func() {
		s, err := head.NewSession()
		if err == nil {
			_ = s.Run("spark-submit --deploy-mode cluster long.py") // it dies with the emulator
		}
	}()
	apps := func(c *client) []any {
		a, err := c.try(context.Background(), "GET https://sparky.azurehdinsight.net/ws/v1/cluster/apps!", nil, "Authorization: "+basic("admin", clusterPassword))
		if err != nil {
			return nil
		}
		all, _ := a.get("apps.app").([]any)
		return all
	}
	app := func(c *client) map[string]any {
		for _, one := range apps(c) {
			if m := one.(map[string]any); m["name"] == "long.py" {
				return m
			}
		}
		return nil
	}
	clocktest.Missing(t, 4*time.Minute, func() string {
		if m := app(c); m["state"] != "RUNNING" {
			return fmt.Sprintf("the job is %v", m["state"])
		}
		return ""
	})
	// A batch of Livy's, which has to wait for its turn: what the head node runs of it, runs.
	if _, said, code := sh(t, head, "hdfs dfs -put long.py /long.py"); code != 0 {
		t.Fatal(last(said))
	}
	batch := "/livy/batches/" + fmt.Sprint(c.livy(201, "sparky", "POST /livy/batches", `{"file":"/long.py","name":"waits","conf":{"spark.app.name":"waits"}}`).get("id"))
	var id string
	clocktest.Missing(t, 2*time.Minute, func() string {
		b := c.livy(200, "sparky", "GET "+batch, "")
		if id = b.text("appId"); id == "" || b.text("state") != "running" {
			return "the batch: " + b.String()
		}
		return ""
	})
	v.kill()
	v.live()
	c = v.client()
	c.clusterUp("sparky")
	if b := c.livy(200, "sparky", "GET "+batch, ""); b.text("state") != "dead" || b.text("appId") != id || !strings.Contains(b.String(), "the emulator ended while this ran") {
		t.Errorf("after the start the batch is %s", b)
	}
	clocktest.Missing(t, 7*time.Minute, func() string {
		m := app(c)
		id, _ := m["id"].(string)
		a, err := c.try(context.Background(), "GET https://sparky.azurehdinsight.net/ws/v1/cluster/apps/"+id+"/appattempts!", nil, "Authorization: "+basic("admin", clusterPassword))
		attempts, _ := a.get("appAttempts.appAttempt").([]any)
		if why, _ := m["diagnostics"].(string); m["state"] == "FAILED" && (strings.Contains(why, "RM restart") || strings.Contains(why, "ApplicationMaster for attempt") && strings.Contains(why, "timed out")) {
			return ""
		}
		if err != nil || m["state"] != "RUNNING" || len(attempts) != 2 {
			return fmt.Sprintf("after the start the job is %v after %d attempts: %v %v", m["state"], len(attempts), m["diagnostics"], err)
		}
		return ""
	})
	head = clusterLogin(t, v.listen, "sparky")
	for _, one := range apps(c) {
		// What goes on has all of the one worker.
		if m := one.(map[string]any); m["finalStatus"] == "UNDEFINED" {
			if out, said, code := sh(t, head, fmt.Sprintf("yarn application -kill %v", m["id"])); code != 0 {
				t.Errorf("kill: %s\n%s", out, last(said))
			}
		}
	}
	out, said, code := sh(t, head, `spark-submit "$SPARK_HOME/examples/src/main/python/pi.py" 2`)
	if code != 0 || !strings.Contains(out, "Pi is roughly 3.1") {
		t.Errorf("pi ends with %d: %s\n%s", code, out, last(said))
	}
}
