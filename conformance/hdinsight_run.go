package conformance

import (
	"net/http"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// sparkScript counts on the cluster's executors before it does what every run's script does.
const sparkScript = `from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("conformance: sum", spark.sparkContext.parallelize(range(100), 4).sum(), flush=True)
` + trainScript

// attachCluster attaches the cluster's head node, as HDInsightCompute.attach does.
func (s *session) attachCluster(c sparkCluster, name, password string) *wire.Response {
	return s.create(s.workspace().compute(name), versionWorkspace, map[string]any{"location": s.cfg.Location, "properties": map[string]any{"computeType": "HDInsight",
		"properties": map[string]any{"sshPort": 22, "address": c.name + "-ssh.azurehdinsight.net", "administratorAccount": map[string]any{"username": "sshuser", "password": password}}}})
}

// sparkCompute is the attached cluster's name in the workspace.
func (s *session) sparkCompute() string {
	return obtain(s, &s.fix.sparkCompute, "an attached cluster of HDInsight", func() string {
		c, name := s.sparkCluster(), computeName()
		r := s.attachCluster(c, name, c.sshPassword)
		s.begun(r, name)
		s.done(r)
		return name
	})
}

// onSpark is a run of PySpark as the SDK sends it, without packages of its own.
func (s *session) onSpark(mode string) order {
	return order{target: s.sparkCompute(), change: func(c map[string]any) {
		c["framework"] = "PySpark"
		c["hdi"] = map[string]any{"yarnDeployMode": mode}
		c["environment"].(map[string]any)["spark"] = map[string]any{"repositories": []any{}, "packages": []any{}, "precachePackages": false}
	}}
}

func hdinsightRunSpecs() []spec {
	return []spec{
		{"hdinsight.attach", func(s *session) {
			name := s.sparkCompute()
			r := s.get(s.workspace().compute(name), versionWorkspace)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "computeType")).To(gomega.Equal("HDInsight"), r.String())
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			if c := s.sparkCluster(); contains([]string{r.Text("properties", "properties", "administratorAccount", "password")}, c.sshPassword) {
				s.fail("GET of the compute shows the password")
			}
		}},
		{"hdinsight.attach.password", func(s *session) {
			name := computeName()
			path := s.workspace().compute(name)
			if r := s.attachCluster(s.sparkCluster(), name, "wrong-"+random()); r.OK() {
				if op := s.await(r); op.Succeeded() {
					s.fail("a cluster was attached by a wrong password: %s", op.Last)
				}
				s.removeCompute(path)
			}
		}},
		{"hdinsight.run.completed", func(s *session) {
			o := s.onSpark("cluster")
			id, u := s.orderRun(o, sparkScript, "--word", scriptWord)
			s.whole(id, u, o.target)
			s.Expect(s.logs(s.follow(u, nil))).To(gomega.ContainSubstring("conformance: sum 4950"))
		}},
		{"hdinsight.run.failed", func(s *session) {
			id, u := s.orderRun(s.onSpark("client"), sparkScript, "--exit", 3)
			s.ended(s.follow(u, nil), "Failed")
			s.Expect(cells(s.metrics(id), "accuracy", "scalar")).To(gomega.HaveLen(1), "what was logged before the failure is kept")
		}},
		{"hdinsight.run.canceled", func(s *session) {
			o := s.onSpark("client")
			id, u := s.orderRun(o, sparkScript, "--sleep", 600)
			s.follow(u, func(details) bool { return len(cells(s.metrics(id), "accuracy", "scalar")) > 0 })
			s.cancelOn(id, o.target)
			s.canceled(u)
		}},
		{"hdinsight.detach", func(s *session) {
			s.removeCompute(s.workspace().compute(s.sparkCompute()))
			// The cluster is its owner's: it goes on.
			r := s.get(s.sparkCluster().path, versionHDInsight)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "clusterState")).To(gomega.Equal("Running"), r.String())
		}},
	}
}
