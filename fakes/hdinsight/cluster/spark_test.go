package cluster_test

import (
	"strings"
	"testing"
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
