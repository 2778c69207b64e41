package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"

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
	return s.do(wire.Request{Method: http.MethodGet, URL: "https://" + c.name + ".azurehdinsight.net" + path, NoToken: true,
		Header: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+password))}}})
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
		{"hdinsight.cluster.nodes", func(s *session) { s.Expect(s.workers(s.sparkCluster())).To(gomega.Equal(2), "the cluster's workers") }},
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
