package emulator_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

var sparkWords = flag.Int("spark.words", 8, "MB on a cluster's storage whose words TestSpark counts")

// wordCount counts, and keeps the counts where its application's id says.
const wordCount = `
from pyspark import SparkContext
sc = SparkContext.getOrCreate()
counts = sc.textFile("wasb:///big/words.txt").flatMap(lambda l: l.split()).map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b)
counts.map(lambda p: "%s %d" % p).coalesce(1).saveAsTextFile("wasb://data@hdistore.blob.core.windows.net/counts/" + sc.applicationId)
for word, n in sorted(counts.collect()):
    print("COUNT", word, n)
`

const failing = `
from pyspark import SparkContext
sc = SparkContext.getOrCreate()
sc.parallelize(range(4)).map(lambda x: 1 // (x - 2)).collect()
print("AFTER")
`

// greedy has an executor take more than YARN has given it.
const greedy = `
import time
from pyspark import SparkContext
sc = SparkContext.getOrCreate()
def hog(_):
    kept = b"x" * (1400 << 20)
    time.sleep(60)
    return len(kept)
sc.parallelize([0], 1).map(hog).collect()
`

// spread takes executors that one worker has no room for, and a while.
const spread = `
import time
from pyspark import SparkContext
sc = SparkContext.getOrCreate()
print("SUM", sc.parallelize(range(45), 45).map(lambda x: (time.sleep(1), x)[1]).sum())
`

// sparkUser has jobs run on a cluster, in each of the ways that there are.
type sparkUser struct {
	*testing.T
	*client
	name    string
	head    *ssh.Client
	session string // path of a session of Livy's
}

// bySSH is spark-submit on the head node; it gives what was printed, and the exit code.
func (u sparkUser) bySSH(file, options string) (out, said string, code int) {
	u.Helper()
	return sh(u.T, u.head, "spark-submit --master yarn "+options+" wasb:///jobs/"+file)
}

// byBatch is a batch of Livy's; it gives its log and the state that it ended in.
func (u sparkUser) byBatch(file, options string) (log, state string) {
	u.Helper()
	created := u.livy(201, u.name, "POST /livy/batches", `{"file":"wasb:///jobs/`+file+`"`+options+`}`)
	path := fmt.Sprintf("/livy/batches/%v", created.get("id"))
	clocktest.Missing(u.T, 5*time.Minute, func() string {
		state = u.livy(200, u.name, "GET "+path+"/state", "").text("state")
		if state != "success" && state != "dead" {
			return "the batch is " + state
		}
		return ""
	})
	var lines []string
	for _, l := range u.livy(200, u.name, "GET "+path+"/log?size=1000", "").get("log").([]any) {
		lines = append(lines, l.(string))
	}
	u.livy(200, u.name, "DELETE "+path, "")
	return strings.Join(lines, "\n"), state
}

func (u *sparkUser) openSession() {
	u.Helper()
	u.session = fmt.Sprintf("/livy/sessions/%v", u.livy(201, u.name, "POST /livy/sessions", `{"kind":"pyspark"}`).get("id"))
	clocktest.Missing(u.T, 3*time.Minute, func() string {
		if s := u.livy(200, u.name, "GET "+u.session, ""); s.text("state") != "idle" {
			return "the session: " + s.String()
		}
		return ""
	})
}

// bySession is a statement of a kept session; it gives what the statement came to.
func (u sparkUser) bySession(code string) answer {
	u.Helper()
	body, err := json.Marshal(map[string]string{"code": code})
	if err != nil {
		u.Fatal(err)
	}
	path := fmt.Sprintf("%s/statements/%v", u.session, u.livy(201, u.name, "POST "+u.session+"/statements", string(body)).get("id"))
	var a answer
	clocktest.Missing(u.T, 5*time.Minute, func() string {
		if a = u.livy(200, u.name, "GET "+path, ""); a.text("state") != "available" {
			return "the statement: " + a.String()
		}
		return ""
	})
	return a
}

// app is an application of YARN's by what a part of it is.
func (u sparkUser) app(is func(m map[string]any) bool) map[string]any {
	u.Helper()
	all, _ := u.gateway(200, u.name, "/ws/v1/cluster/apps").get("apps.app").([]any)
	for _, one := range all {
		if m := one.(map[string]any); is(m) {
			return m
		}
	}
	return map[string]any{}
}

func named(name string) func(map[string]any) bool {
	return func(m map[string]any) bool { return m["name"] == name }
}

func (u sparkUser) resize(workers int) {
	u.Helper()
	u.must(202, "POST {P}/Microsoft.HDInsight/clusters/"+u.name+"/roles/workernode/resize"+clusterVersion, fmt.Sprintf(`{"targetInstanceCount":%d}`, workers))
	u.clusterUp(u.name)
	if n := u.gateway(200, u.name, "/ws/v1/cluster/metrics").get("clusterMetrics.activeNodes"); n != float64(workers) {
		u.Errorf("YARN counts %v nodes, not %d", n, workers)
	}
}

// TestSpark has a cluster do what its users do: Spark's pi, a word count on the
// cluster's storage and a job that fails, each over SSH, as a batch and as a
// statement of Livy's; it grows and shrinks meanwhile.
func TestSpark(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a cluster for minutes")
	}
	spark := sparkFolder(t)
	pi, err := os.ReadFile(filepath.Join(spark, "spark", "examples", "src", "main", "python", "pi.py"))
	if err != nil {
		t.Fatal(err)
	}
	e, c := up(t, func(cfg *emulator.Config) {
		cfg.Spark, cfg.Environment = spark, []string{"PATH=" + os.Getenv("PATH")}
	})
	c.cluster("sparky", 1)
	u := sparkUser{T: t, client: c, name: "sparky", head: clusterLogin(t, e.Addr(), "sparky")}
	for name, text := range map[string]string{"pi.py": string(pi), "words.py": wordCount, "failing.py": failing, "greedy.py": greedy, "spread.py": spread, "syntax.py": "print('a'"} {
		put(t, u.head, name, text)
	}
	lines := *sparkWords * 1000000 / 42
	if _, said, code := sh(t, u.head, fmt.Sprintf(`yes "lorem ipsum dolor sit amet lorem  ipsum  " | head -n %d >words.txt && hdfs dfs -mkdir -p /big /jobs && hdfs dfs -put words.txt wasb:///big/ && hdfs dfs -put *.py /jobs/`, lines)); code != 0 {
		t.Fatalf("put: %s", last(said))
	}
	counted := []string{fmt.Sprintf("COUNT lorem %d", 2*lines), fmt.Sprintf("COUNT amet %d", lines)}
	jobs := []struct {
		file   string
		prints []string
		fails  string // what of it is told; empty: it ends well
	}{
		{"pi.py", []string{"Pi is roughly 3.1"}, ""},
		{"words.py", counted, ""},
		{"failing.py", nil, "ZeroDivisionError"},
	}
	check := func(way, file, text string, well bool, began time.Time) {
		t.Helper()
		t.Logf("%s by %s: %.1f s", file, way, time.Since(began).Seconds())
		for _, j := range jobs {
			if j.file != file {
				continue
			}
			if well != (j.fails == "") || !strings.Contains(text, j.fails) || strings.Contains(text, "AFTER") {
				t.Errorf("%s by %s: it ends well: %t: %s", file, way, well, last(text))
			}
			for _, want := range j.prints {
				if !strings.Contains(text, want) {
					t.Errorf("%s by %s lacks %q: %s", file, way, want, last(text))
				}
			}
		}
	}

	// Over SSH; while the words are counted the cluster grows.
	for _, j := range jobs {
		began, finished := time.Now(), make(chan struct{})
		go func() {
			defer close(finished)
			out, said, code := u.bySSH(j.file, "")
			check("SSH", j.file, out+said, code == 0, began)
		}()
		if j.file == "words.py" {
			u.resize(2)
		}
		<-finished
	}
	for _, j := range jobs {
		began := time.Now()
		log, state := u.byBatch(j.file, "")
		check("batch", j.file, log, state == "success", began)
	}
	began := time.Now()
	u.openSession()
	t.Logf("a session: %.1f s", time.Since(began).Seconds())
	for _, j := range jobs {
		began := time.Now()
		code, err := sources(j.file, string(pi))
		if err != nil {
			t.Fatal(err)
		}
		a := u.bySession(code)
		text, well := a.text("output.data.text/plain"), a.text("output.status") == "ok"
		if !well {
			text = a.text("output.evalue")
		}
		check("session", j.file, text, well, began)
	}
	if s := u.livy(200, u.name, "GET "+u.session, ""); s.text("state") != "idle" || s.text("appId") == "" {
		t.Errorf("after a statement that failed the session is %s", s)
	}
	// Of a batch and of a session YARN's state is what it is at HDInsight in deploy mode client.
	if m := u.app(func(m map[string]any) bool { return m["state"] == "RUNNING" }); m["name"] != "pyspark-shell" && m["name"] != "PySparkShell" {
		t.Errorf("what runs is %v", m["name"])
	}
	u.livy(200, u.name, "DELETE "+u.session, "")
	if out, said, _ := sh(t, u.head, "hdfs dfs -ls /counts/*/_SUCCESS"); strings.Count(out, "_SUCCESS") != 3 {
		t.Errorf("the counts are not three times in the storage account: %s\n%s", out, last(said))
	}

	// An executor that takes more than it was given.
	const killed = "Container killed by YARN for exceeding physical memory limits"
	log, state := u.byBatch("greedy.py", `,"executorMemory":"512m","numExecutors":1,"conf":{"spark.task.maxFailures":"1"}`)
	if state != "dead" || !strings.Contains(log, killed) || !strings.Contains(log, "Job aborted due to stage failure") {
		t.Errorf("the batch with a greedy executor is %s: %s", state, last(log))
	}
	const cluster = "--deploy-mode cluster --conf spark.yarn.maxAppAttempts=1 "
	if _, said, code := u.bySSH("greedy.py", cluster+"--name greedy --executor-memory 512m --num-executors 1 --conf spark.task.maxFailures=1"); code != 1 || !strings.Contains(said, "final status: FAILED") {
		t.Errorf("the job with a greedy executor ends with %d: %s", code, last(said))
	}
	// Of a driver in Python YARN is told no more than its exit code; its log has the rest.
	const failed = "User application exited with status 1"
	m := u.app(named("greedy"))
	if m["finalStatus"] != "FAILED" || m["state"] != "FINISHED" || m["diagnostics"] != failed {
		t.Errorf("YARN shows %v %v: %v", m["state"], m["finalStatus"], m["diagnostics"])
	}
	clocktest.Missing(t, 2*time.Minute, func() string {
		if out, said, _ := sh(t, u.head, fmt.Sprintf("yarn logs -applicationId %v", m["id"])); !strings.Contains(out, killed) {
			return fmt.Sprintf("its log: %s\n%s", last(out), last(said))
		}
		return ""
	})
	// What is wrong in itself.
	if out, said, code := u.bySSH("syntax.py", ""); code != 1 || !strings.Contains(out+said, "SyntaxError") {
		t.Errorf("a syntax error ends with %d: %s\n%s", code, out, last(said))
	}
	if log, state := u.byBatch("syntax.py", ""); state != "dead" || !strings.Contains(log, "SyntaxError") {
		t.Errorf("the batch with a syntax error is %s: %s", state, last(log))
	}
	if _, said, code := u.bySSH("failing.py", cluster+"--name fails"); code != 1 || !strings.Contains(said, "final status: FAILED") {
		t.Errorf("the job that fails in the cluster ends with %d: %s", code, last(said))
	}
	if m := u.app(named("fails")); m["finalStatus"] != "FAILED" || m["diagnostics"] != failed {
		t.Errorf("YARN shows %v: %v", m["finalStatus"], m["diagnostics"])
	}

	// The cluster shrinks under a job that is on all of it.
	summed := make(chan string, 1)
	go func() {
		out, said, code := u.bySSH("spread.py", "--name spread --num-executors 3 --executor-memory 2g")
		if code != 0 {
			out = fmt.Sprintf("it ends with %d: %s", code, last(said))
		}
		summed <- out
	}()
	clocktest.Missing(t, 3*time.Minute, func() string {
		if m := u.app(named("spread")); m["runningContainers"] != 4.0 {
			return fmt.Sprintf("the job has %v containers", m["runningContainers"])
		}
		return ""
	})
	u.resize(1)
	if got := <-summed; !strings.Contains(got, "SUM 990") {
		t.Errorf("the job under which the cluster shrank: %s", got)
	}

	c.must(401, "GET https://sparky.azurehdinsight.net/ws/v1/cluster/apps!", nil, "Authorization: "+basic("admin", "wrong"))
	c.must(401, "GET https://sparky.azurehdinsight.net/livy/batches!", nil, "Authorization: "+basic("sshuser", clusterPassword))
	c.must(400, "POST {P}/Microsoft.HDInsight/clusters/sparky/roles/workernode/resize"+clusterVersion, `{"targetInstanceCount":0}`)
	if a := c.gateway(200, "sparky", "/api/v1/clusters/sparky/services/YARN"); a.text("ServiceInfo.state") != "STARTED" {
		t.Errorf("Ambari: %s", a)
	}
	c.must(404, "GET https://nobody.azurehdinsight.net/ws/v1/cluster/apps!", nil, "Authorization: "+basic("admin", clusterPassword))
	if a := c.do("DELETE {P}/Microsoft.HDInsight/clusters/sparky"+clusterVersion, nil); a.status != 202 {
		t.Errorf("delete: %s", a)
	}
}

// sources is a job's code for a session, whose context goes on.
func sources(file, pi string) (string, error) {
	switch file {
	case "pi.py":
		return strings.Replace(pi, "spark.stop()", "pass", 1), nil
	case "words.py":
		return wordCount, nil
	case "failing.py":
		return failing, nil
	}
	return "", fmt.Errorf("there is no job %s", file)
}
