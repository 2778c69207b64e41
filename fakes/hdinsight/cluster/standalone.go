package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// standalone is Spark's own master and workers, which come with Spark. What is
// submitted to YARN by name is theirs: the commands say so where they do it.
// Python's jobs have their driver on the head node there, in no other deploy
// mode, and Hadoop's driver of storage accounts is missing with YARN: the default
// file system is a folder that the nodes share.
type standalone struct{}

func (standalone) ports() map[string]int { return map[string]int{"web": 8080, "client": 7077} }

// sites has none: there is no YARN to be configured.
func (standalone) sites(*hadoop) map[string]map[string]string { return nil }

func (standalone) url(h *hadoop) string {
	return "spark://" + h.head() + ":" + strconv.Itoa(h.ports["client"])
}

func (s standalone) spark(h *hadoop) map[string]string {
	out := map[string]string{
		"spark.master": s.url(h),
		// As much as YARN gives a job that does not say: else the first would have all there is.
		"spark.cores.max":      "2",
		"spark.executor.cores": "1",
	}
	if h.host {
		out["spark.executorEnv.SPARK_LOCAL_IP"] = "127.0.0.1"
	}
	return out
}

func (s standalone) server(h *hadoop, n *node) server {
	env := []string{"SPARK_DAEMON_MEMORY=192m", "SPARK_DAEMON_JAVA_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true" +
		" -Dspark.deploy.recoveryMode=FILESYSTEM -Dspark.deploy.recoveryDirectory=" + h.cluster.managerState()}
	class := filepath.Join(h.release.Home(), "bin", "spark-class")
	if n.role == Worker {
		return server{"worker", []string{class, "org.apache.spark.deploy.worker.Worker", "--host", h.address(n), "--webui-port", "0",
			"--cores", strconv.Itoa(n.coresForJobs()), "--memory", fmt.Sprintf("%dM", n.memoryForJobs()), "--work-dir", filepath.Join(n.disk(), "work"), s.url(h)}, env}
	}
	return server{"master", []string{class, "org.apache.spark.deploy.master.Master", "--host", h.address(n),
		"--port", strconv.Itoa(h.ports["client"]), "--webui-port", strconv.Itoa(h.ports["web"])}, env}
}

func (standalone) active(ctx context.Context, base string) (int, error) {
	var m struct {
		AliveWorkers int `json:"aliveworkers"`
	}
	err := readJSON(ctx, base+"/json/", &m)
	return m.AliveWorkers, err
}

// forYARN is how commands take what asks for YARN where there is none.
const forYARN = `count=$# options=yes
while [ "$count" -gt 0 ]; do
  word=$1
  shift
  count=$((count - 1))
  case "$options$word" in
    yes--master=yarn*) word=--master=$master ;;
    yes--master)
      set -- "$@" "$word"
      word=$1
      shift
      count=$((count - 1))
      case "$word" in yarn*) word=$master ;; esac
      ;;
    yes-v | yes--verbose | yes--supervise | yes--help | yes-h | yes--version | yes--usage-error | yes--*=*) ;;
    yes-*)
      set -- "$@" "$word"
      [ "$count" -gt 0 ] || break
      word=$1
      shift
      count=$((count - 1))
      ;;
    *) options= ;;
  esac
  [ "$word" != "$master" ] || echo "There is no YARN here: Spark's own master takes its place" >&2
  set -- "$@" "$word"
done
`
