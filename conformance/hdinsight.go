package conformance

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

const versionHDInsight = "2018-06-01-preview"

// sparkCluster is a cluster of two workers and its logins.
type sparkCluster struct {
	path, name, password, sshPassword string
}

// clusterBody is a Spark cluster of HDInsight 3.6 on a storage account.
func (s *session) clusterBody(account, key, password, sshPassword string, workers int) map[string]any {
	role := func(name string, count int) map[string]any {
		return map[string]any{"name": name, "targetInstanceCount": count, "hardwareProfile": map[string]string{"vmSize": s.cfg.HDInsightSize},
			"osProfile": map[string]any{"linuxOperatingSystemProfile": map[string]string{"username": "sshuser", "password": sshPassword}}}
	}
	return map[string]any{"location": s.cfg.Location, "properties": map[string]any{
		"clusterVersion": "3.6", "osType": "Linux", "tier": "Standard",
		"clusterDefinition": map[string]any{"kind": "spark", "configurations": map[string]any{"gateway": map[string]string{
			"restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": password}}},
		"computeProfile": map[string]any{"roles": []any{role("headnode", 2), role("workernode", workers)}},
		"storageProfile": map[string]any{"storageaccounts": []any{map[string]any{"name": account + ".blob.core.windows.net", "isDefault": true, "container": "spark", "key": key}}}}}
}

// role of a cluster's properties, as clusterBody writes it.
func role(properties map[string]any, name string) map[string]any {
	for _, one := range properties["computeProfile"].(map[string]any)["roles"].([]any) {
		if r := one.(map[string]any); r["name"] == name {
			return r
		}
	}
	return nil
}

// clusterStorage makes a storage account and gives its name and a key.
func (s *session) clusterStorage() (account, key string) {
	path := s.storageAccount()
	r := s.send(http.MethodPost, path+"/listKeys", versionStorage, nil)
	s.status(r, http.StatusOK)
	key, _ = item(r.Value("keys"), "value").(string)
	return path[strings.LastIndex(path, "/")+1:], key
}

func (s *session) sparkCluster() sparkCluster {
	return obtain(s, &s.fix.hdinsight, "a cluster of HDInsight", func() sparkCluster {
		s.provider("Microsoft.HDInsight")
		account, key := s.clusterStorage()
		c := sparkCluster{name: "conform" + random(), password: "Aa1!" + random() + random(), sshPassword: "Bb2!" + random() + random()}
		c.path = s.group() + "/providers/Microsoft.HDInsight/clusters/" + c.name
		r := s.create(c.path, versionHDInsight, s.clusterBody(account, key, c.password, c.sshPassword, 2))
		s.status(r, http.StatusOK)
		op := s.await(r)
		if why := op.Last.Text("error", "message"); strings.Contains(why, "lazulite spark install") {
			s.skip("the endpoint has no Spark: %s", why)
		}
		if !op.Succeeded() {
			s.fail("the cluster's creation ended %q: %s", op.Status, op.Last)
		}
		return c
	})
}

// gateway reads below the cluster's own host name with a login.
func (s *session) gateway(c sparkCluster, path, password string) *wire.Response {
	return s.do(c.request(http.MethodGet, path, password, nil))
}

func (c sparkCluster) request(method, path, password string, body any) wire.Request {
	return wire.Request{Method: method, URL: "https://" + c.name + ".azurehdinsight.net" + path, NoToken: true, Body: body,
		Header: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+password))}}}
}

// livy asks the cluster's Livy, with the header that it wants of writes.
func (s *session) livy(c sparkCluster, method, path string, body any) *wire.Response {
	r := c.request(method, "/livy"+path, c.password, body)
	r.Header.Set("X-Requested-By", "admin")
	return s.do(r)
}

// kept is a session of Livy's that is idle.
type kept struct{ path, application string }

// pyspark is a session of PySpark on the cluster.
func (s *session) pyspark() (sparkCluster, kept) {
	c := s.sparkCluster()
	return c, obtain(s, &s.fix.pyspark, "a session of Livy's", func() kept {
		r := s.livy(c, http.MethodPost, "/sessions", map[string]string{"kind": "pyspark"})
		s.status(r, http.StatusCreated)
		path := fmt.Sprintf("/sessions/%v", r.Value("id"))
		idle := s.untilLivy("the session is idle", func() (*wire.Response, bool) {
			r := s.livy(c, http.MethodGet, path, nil)
			return r, r.Text("state") != "starting" && r.Text("state") != "not_started"
		})
		s.Expect(idle.Text("state")).To(gomega.Equal("idle"), idle.String())
		return kept{path, idle.Text("appId")}
	})
}

// untilLivy asks until the answer is what is waited for.
func (s *session) untilLivy(what string, ask func() (*wire.Response, bool)) (last *wire.Response) {
	s.eventually(what, 5*time.Minute, func() (ok bool) {
		last, ok = ask()
		return ok
	})
	return last
}

// statement is what a statement of a session came to.
func (s *session) statement(c sparkCluster, k kept, code string) *wire.Response {
	r := s.livy(c, http.MethodPost, k.path+"/statements", map[string]string{"code": code})
	s.status(r, http.StatusCreated)
	return s.untilLivy("the statement has run", func() (*wire.Response, bool) {
		now := s.livy(c, http.MethodGet, fmt.Sprintf("%s/statements/%v", k.path, r.Value("id")), nil)
		return now, now.Text("state") == "available"
	})
}

// workers counts the cluster's worker nodes, as Ambari has them.
func (s *session) workers(c sparkCluster) int {
	r := s.gateway(c, "/api/v1/clusters/"+c.name+"/hosts", c.password)
	s.status(r, http.StatusOK)
	list, _ := r.Value("items").([]any)
	n := 0
	for _, one := range list {
		if name, _ := item([]any{one}, "Hosts", "host_name").(string); strings.HasPrefix(name, "wn") {
			n++
		}
	}
	return n
}

func hdinsightSpecs() []spec {
	return []spec{
		{"hdinsight.cluster.password", func(s *session) {
			s.provider("Microsoft.HDInsight")
			account, key := s.clusterStorage()
			path := s.group() + "/providers/Microsoft.HDInsight/clusters/weak" + random()
			s.refused(s.create(path, versionHDInsight, s.clusterBody(account, key, "weak", "Bb2!"+random(), 1)), http.StatusBadRequest)
			s.status(s.get(path, versionHDInsight), http.StatusNotFound)
		}},
		{"hdinsight.cluster.refused", func(s *session) {
			s.provider("Microsoft.HDInsight")
			account, key := s.clusterStorage()
			for name, change := range map[string]func(body, definition map[string]any){
				"a":               func(_, _ map[string]any) {}, // too short a name
				"old" + random():  func(p, _ map[string]any) { p["clusterVersion"] = "1.0" },
				"kind" + random(): func(_, d map[string]any) { d["kind"] = "flink" },
				"none" + random(): func(p, _ map[string]any) { role(p, "workernode")["targetInstanceCount"] = 0 },
				"size" + random(): func(p, _ map[string]any) {
					role(p, "workernode")["hardwareProfile"] = map[string]string{"vmSize": "Standard_Nought"}
				},
				"bare" + random(): func(p, _ map[string]any) { p["storageProfile"] = map[string]any{"storageaccounts": []any{}} },
			} {
				body := s.clusterBody(account, key, "Aa1!"+random()+random(), "Bb2!"+random()+random(), 1)
				properties := body["properties"].(map[string]any)
				change(properties, properties["clusterDefinition"].(map[string]any))
				path := s.group() + "/providers/Microsoft.HDInsight/clusters/" + name
				s.refused(s.create(path, versionHDInsight, body), http.StatusBadRequest)
				s.status(s.get(path, versionHDInsight), http.StatusNotFound)
			}
		}},
		{"hdinsight.cluster.storage", func(s *session) {
			s.provider("Microsoft.HDInsight")
			account, _ := s.clusterStorage()
			wrong := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 64)))
			path := s.group() + "/providers/Microsoft.HDInsight/clusters/wrong" + random()
			s.refused(s.create(path, versionHDInsight, s.clusterBody(account, wrong, "Aa1!"+random()+random(), "Bb2!"+random(), 1)), http.StatusBadRequest)
			s.status(s.get(path, versionHDInsight), http.StatusNotFound)
		}},
		{"hdinsight.cluster.create", func(s *session) {
			c := s.sparkCluster()
			r := s.get(c.path, versionHDInsight)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
			s.Expect(r.Text("properties", "clusterState")).To(gomega.Equal("Running"), r.String())
			for _, secret := range []string{c.password, c.sshPassword} {
				if strings.Contains(string(r.Body), secret) {
					s.fail("GET of the cluster shows a password")
				}
			}
		}},
		{"hdinsight.cluster.gateway", func(s *session) {
			c := s.sparkCluster()
			s.status(s.gateway(c, "/api/v1/clusters/"+c.name, c.password), http.StatusOK)
			for _, wrong := range []string{"", c.password + "x", c.sshPassword} {
				s.status(s.gateway(c, "/api/v1/clusters/"+c.name, wrong), http.StatusUnauthorized)
			}
		}},
		{"hdinsight.livy.session", func(s *session) {
			c, k := s.pyspark()
			r := s.statement(c, k, "total = sc.parallelize(range(1000), 4).sum()\nprint(total)")
			s.Expect(r.Text("output", "status")).To(gomega.Equal("ok"), r.String())
			s.Expect(r.Text("output", "data", "text/plain")).To(gomega.Equal("499500"), r.String())
			again := s.statement(c, k, "total + 1")
			s.Expect(again.Text("output", "data", "text/plain")).To(gomega.Equal("499501"), "a session keeps its names")
		}},
		{"hdinsight.livy.fault", func(s *session) {
			c, k := s.pyspark()
			r := s.statement(c, k, "sc.parallelize(range(4)).map(lambda x: 1 // x).collect()")
			s.Expect(r.Text("output", "status")).To(gomega.Equal("error"), r.String())
			s.Expect(r.Text("output", "evalue")).To(gomega.ContainSubstring("ZeroDivisionError"), r.String())
			s.Expect(s.livy(c, http.MethodGet, k.path, nil).Text("state")).To(gomega.Equal("idle"), "the session goes on")
		}},
		{"hdinsight.livy.application", func(s *session) {
			c, k := s.pyspark()
			r := s.gateway(c, "/ws/v1/cluster/apps/"+k.application, c.password)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("app", "state")).To(gomega.Equal("RUNNING"), r.String())
			s.status(s.livy(c, http.MethodDelete, k.path, nil), http.StatusOK)
			s.status(s.livy(c, http.MethodGet, k.path, nil), http.StatusNotFound)
			s.untilLivy("YARN has ended the session's application", func() (*wire.Response, bool) {
				r := s.gateway(c, "/ws/v1/cluster/apps/"+k.application, c.password)
				return r, r.Text("app", "state") != "RUNNING"
			})
		}},
		{"hdinsight.livy.refused", func(s *session) {
			c := s.sparkCluster()
			s.status(s.do(c.request(http.MethodPost, "/livy/sessions", c.password, map[string]string{"kind": "pyspark"})), http.StatusBadRequest)
			s.status(s.livy(c, http.MethodPost, "/batches", map[string]string{"file": "file:///etc/passwd"}), http.StatusBadRequest)
			s.status(s.livy(c, http.MethodPost, "/sessions", map[string]string{"kind": "cobol"}), http.StatusBadRequest)
			s.status(s.livy(c, http.MethodGet, "/batches/70007", nil), http.StatusNotFound)
			s.status(s.do(c.request(http.MethodGet, "/livy/batches", c.sshPassword, nil)), http.StatusUnauthorized)
		}},
		{"hdinsight.livy.failed", func(s *session) {
			c := s.sparkCluster()
			r := s.livy(c, http.MethodPost, "/batches", map[string]string{"file": "/absent-" + random() + ".py"})
			s.status(r, http.StatusCreated)
			path := fmt.Sprintf("/batches/%v", r.Value("id"))
			end := s.untilLivy("the batch ends", func() (*wire.Response, bool) {
				r := s.livy(c, http.MethodGet, path, nil)
				return r, r.Text("state") != "starting" && r.Text("state") != "running"
			})
			s.Expect(end.Text("state")).To(gomega.Equal("dead"), end.String())
			s.status(s.livy(c, http.MethodDelete, path, nil), http.StatusOK)
			s.status(s.livy(c, http.MethodGet, path, nil), http.StatusNotFound)
		}},
		{"hdinsight.cluster.nodes", func(s *session) { s.Expect(s.workers(s.sparkCluster())).To(gomega.Equal(2), "the cluster's workers") }},
	}
}

// hdinsightEndSpecs change the cluster, once runs are done with it.
func hdinsightEndSpecs() []spec {
	return []spec{
		{"hdinsight.cluster.resize", func(s *session) {
			c := s.sparkCluster()
			resize := func(n int) *wire.Response {
				return s.send(http.MethodPost, c.path+"/roles/workernode/resize", versionHDInsight, map[string]int{"targetInstanceCount": n})
			}
			s.refused(resize(0), http.StatusBadRequest)
			s.Expect(s.workers(c)).To(gomega.Equal(2), "a refused resize changes nothing")
			r := resize(1)
			s.status(r, http.StatusOK, http.StatusAccepted)
			s.done(r)
			s.Expect(s.workers(c)).To(gomega.Equal(1))
		}},
		{"hdinsight.cluster.delete", func(s *session) {
			c := s.sparkCluster()
			r := s.do(wire.Request{Method: http.MethodDelete, URL: c.path, Version: versionHDInsight})
			s.status(r, http.StatusOK, http.StatusAccepted)
			s.done(r)
			s.refused(s.get(c.path, versionHDInsight), http.StatusNotFound)
			s.client.Untrack(c.path)
			s.status(s.gateway(c, "/api/v1/clusters/"+c.name, c.password), http.StatusNotFound)
		}},
	}
}
