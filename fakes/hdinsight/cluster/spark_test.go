package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"lazulite.dev/fakes/hdinsight/cluster"
)

func TestSparkOnYARN(t *testing.T) {
	f := open(t, t.TempDir(), sparkDir(t))
	c := f.Cluster("c1")
	s := spec(t, 1)
	s.Hadoop = true
	apply(t, c, s)
	head := login(t, c, "hn0")
	out, code := run(t, head, `spark-submit --master yarn --num-executors 1 "$SPARK_HOME/examples/src/main/python/pi.py" 4`)
	if code != 0 || !strings.Contains(out, "Pi is roughly 3.1") {
		t.Errorf("pi ends with %d: %s", code, out)
	}
}

// TestSparkAlone has Spark as PyPI has it, and no YARN: its own master gives jobs
// their machines, who asks for YARN is told, and the cluster grows and shrinks.
func TestSparkAlone(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, sparkAlone(t, sparkDir(t)))
	c := f.Cluster("c1")
	s := spec(t, 1)
	s.Hadoop, s.Storage = true, []cluster.Storage{{Account: "store.blob.core.windows.net", Container: "data", Key: "a2V5"}}
	apply(t, c, s)
	head := login(t, c, "hn0")
	out, code := run(t, head, `spark-submit -v --name x --master yarn --conf a.b=c "$SPARK_HOME/examples/src/main/python/pi.py" 4 2>&1`)
	if code != 0 || !strings.Contains(out, "Pi is roughly 3.1") || !strings.Contains(out, "There is no YARN here") || !strings.Contains(out, "spark://127.0.0.1:") {
		t.Errorf("pi ends with %d: %s", code, out)
	}
	if out, code := run(t, head, `spark-submit --master=yarn --deploy-mode cluster "$SPARK_HOME/examples/src/main/python/pi.py" 2>&1`); code == 0 || !strings.Contains(out, "not supported for python applications on standalone clusters") {
		t.Errorf("deploy mode cluster ends with %d: %s", code, out)
	}
	const count = `cat >count.py <<'EOF'
import sys
from pyspark import SparkContext
sc = SparkContext(appName="count")
print("COUNT", sc.textFile("/in/words").flatMap(lambda l: l.split()).count(), sys.argv[1:])
1 // int(sys.argv[1] != "fail")
EOF
hdfs dfs -mkdir -p /in && echo "a b c" | hdfs dfs -put - /in/words && hdfs dfs -ls viewfs://shared/in && spark-submit count.py --master yarn`
	if out, code := run(t, head, count); code != 0 || !strings.Contains(out, "COUNT 3 ['--master', 'yarn']") {
		t.Errorf("a count of words ends with %d: %s", code, out)
	}
	if out, code := run(t, head, "spark-submit count.py fail"); code != 1 || !strings.Contains(out, "ZeroDivisionError") {
		t.Errorf("a job that fails ends with %d: %s", code, out)
	}
	if out, code := run(t, head, "yarn application -list"); code != 127 {
		t.Errorf("yarn, which is not there, ends with %d: %s", code, out)
	}
	for _, n := range []int{2, 1} {
		s.Workers = n
		apply(t, c, s)
		if got, err := c.Active(t.Context()); got != n || err != nil {
			t.Errorf("with %d workers the master counts %d: %v", n, got, err)
		}
	}
	var lacking *cluster.Unavailable
	if _, err := c.ResourceManager(t.Context()); !errors.As(err, &lacking) || lacking.Command != "lazulite spark install" {
		t.Errorf("YARN's web services: %v", err)
	}
}
