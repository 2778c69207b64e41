package conformance

import (
	"net/http"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

const versionBatchAI = "2018-05-01"

// batchAI is a workspace of Batch AI with an experiment and a cluster of two
// nodes that mounts a file server, for the specs of target:batchai.
type batchAI struct {
	path    string // of the workspace
	cluster string // its id
}

func (b *batchAI) job(name string) string { return b.path + "/experiments/e/jobs/" + name }

// batchAI makes it. Azure itself has had no Batch AI since March 2019.
func (s *session) batchAI() *batchAI {
	return obtain(s, &s.fix.batchAI, "a cluster of Batch AI", func() *batchAI {
		s.provider("Microsoft.BatchAI")
		b := &batchAI{path: s.group() + "/providers/Microsoft.BatchAI/workspaces/w" + random()}
		s.status(s.create(b.path, versionBatchAI, map[string]any{"location": s.cfg.Location}), http.StatusOK)
		s.status(s.create(b.path+"/experiments/e", versionBatchAI, nil), http.StatusOK)
		server := b.path + "/fileServers/f"
		account := map[string]any{"adminUserName": "conform", "adminUserPassword": "Conform-" + random() + "-9"}
		r := s.create(server, versionBatchAI, map[string]any{"properties": map[string]any{"vmSize": "STANDARD_D1", "sshConfiguration": map[string]any{"userAccountSettings": account},
			"dataDisks": map[string]any{"diskSizeInGB": 10, "diskCount": 1, "storageAccountType": "Standard_LRS"}}})
		s.swapped(r)
		s.done(r)
		b.cluster = b.path + "/clusters/c"
		r = s.create(b.cluster, versionBatchAI, map[string]any{"properties": map[string]any{"vmSize": "STANDARD_D1", "userAccountSettings": account,
			"scaleSettings": map[string]any{"manual": map[string]any{"targetNodeCount": 2}},
			"nodeSetup":     map[string]any{"mountVolumes": map[string]any{"fileServers": []any{map[string]any{"fileServer": map[string]any{"id": server}, "relativeMountPath": "nfs"}}}}}})
		s.swapped(r)
		s.done(r)
		return b
	})
}

// swapped checks the 202 of Batch AI, whose two headers have each other's names.
func (s *session) swapped(r *wire.Response) {
	s.status(r, http.StatusAccepted)
	if len(r.Body) > 0 {
		s.fail("%s; the recorded answer is empty", r)
	}
	for header, part := range map[string]string{"Azure-AsyncOperation": "/operationresults/", "Location": "/operationstatuses/"} {
		if !strings.Contains(strings.ToLower(r.Header.Get(header)), part) {
			s.fail("%s is %q; Batch AI has %s in it", header, r.Header.Get(header), part)
		}
	}
}

// runJob puts a job on the cluster.
func (s *session) runJob(name string, properties map[string]any) string {
	b := s.batchAI()
	all := map[string]any{"cluster": map[string]any{"id": b.cluster}, "nodeCount": 1, "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/nfs"}
	for k, v := range properties {
		all[k] = v
	}
	path := b.job(name)
	r := s.create(path, versionBatchAI, map[string]any{"properties": all})
	s.swapped(r)
	s.done(r)
	return path
}

func command(line string) map[string]any { return map[string]any{"commandLine": line} }

// ended waits for a job's last state.
func (s *session) jobEnd(path string) *wire.Response {
	var last *wire.Response
	s.eventually("the job's end", s.cfg.Budget.Operation, func() bool {
		last = s.get(path, versionBatchAI)
		state := last.Text("properties", "executionState")
		return state == "succeeded" || state == "failed"
	})
	return last
}

func batchAISpecs() []spec {
	return []spec{
		{"batchai.workspace", func(s *session) {
			b := s.batchAI()
			r := s.get(b.path, versionBatchAI)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("succeeded"), r.String())
			s.text(r, "properties", "creationTime")
		}},
		{"batchai.cluster.defaults", func(s *session) {
			r := s.get(s.batchAI().cluster, versionBatchAI)
			s.status(r, http.StatusOK)
			for path, want := range map[string]any{"vmPriority": "dedicated", "scaleSettings.manual.nodeDeallocationOption": "requeue",
				"virtualMachineConfiguration.imageReference.publisher": "Canonical", "provisioningState": "succeeded"} {
				s.Expect(r.Value(append([]string{"properties"}, strings.Split(path, ".")...)...)).To(gomega.Equal(want), path+" of "+r.String())
			}
			if strings.Contains(string(r.Body), "adminUserPassword") {
				s.fail("GET of the cluster shows its password")
			}
		}},
		{"batchai.cluster.steady", func(s *session) {
			c := s.batchAI().cluster
			s.eventually("two idle nodes", s.cfg.Budget.Operation, func() bool {
				r := s.get(c, versionBatchAI)
				return r.Text("properties", "allocationState") == "steady" && r.Value("properties", "currentNodeCount") == 2.0
			})
		}},
		{"batchai.cluster.absent", func(s *session) {
			r := s.get(s.batchAI().path+"/clusters/none", versionBatchAI)
			s.refused(r, http.StatusNotFound)
			s.Expect(r.Text("error", "code")).To(gomega.Equal("ClusterNotFound"), r.String())
		}},
		{"batchai.cluster.size", func(s *session) {
			r := s.create(s.batchAI().path+"/clusters/bad", versionBatchAI, map[string]any{"properties": map[string]any{"vmSize": "Standard_Nothing_v9",
				"userAccountSettings": map[string]any{"adminUserName": "conform", "adminUserPassword": "Conform-0-Pass"}}})
			s.refused(r, http.StatusBadRequest)
			s.Expect(r.Text("error", "code")).To(gomega.Equal("InvalidPropertyValue"), r.String())
		}},
		{"batchai.cluster.bounds", func(s *session) {
			r := s.send(http.MethodPatch, s.batchAI().cluster, versionBatchAI, map[string]any{"properties": map[string]any{
				"scaleSettings": map[string]any{"autoScale": map[string]any{"minimumNodeCount": 3, "maximumNodeCount": 2}}}})
			s.refused(r, http.StatusBadRequest)
		}},
		{"batchai.cluster.logins", func(s *session) {
			r := s.send(http.MethodPost, s.batchAI().cluster+"/listRemoteLoginInformation", versionBatchAI, nil)
			s.status(r, http.StatusOK)
			list, _ := r.Value("value").([]any)
			s.Expect(list).To(gomega.HaveLen(2), r.String())
		}},
		{"batchai.job.succeeds", func(s *session) {
			r := s.jobEnd(s.runJob("good", map[string]any{"customToolkitSettings": command("true")}))
			s.Expect(r.Text("properties", "executionState")).To(gomega.Equal("succeeded"), r.String())
			s.Expect(r.Value("properties", "executionInfo", "exitCode")).To(gomega.Equal(0.0), r.String())
			for _, k := range []string{"startTime", "endTime"} {
				s.text(r, "properties", "executionInfo", k)
			}
			s.Expect(r.Text("properties", "constraints", "maxWallClockTime")).To(gomega.Equal("P7D"), r.String())
			s.Expect(r.Text("properties", "toolType")).To(gomega.Equal("custom"), r.String())
		}},
		{"batchai.job.fails", func(s *session) {
			r := s.jobEnd(s.runJob("bad", map[string]any{"customToolkitSettings": command("exit 7")}))
			s.Expect(r.Text("properties", "executionState")).To(gomega.Equal("failed"), r.String())
			s.Expect(r.Value("properties", "executionInfo", "exitCode")).To(gomega.Equal(7.0), r.String())
		}},
		{"batchai.job.volume", func(s *session) {
			s.jobEnd(s.runJob("writer", map[string]any{"customToolkitSettings": command("echo kept >> $AZ_BATCHAI_MOUNT_ROOT/nfs/kept")}))
			// Once: a job that was run twice has written twice.
			r := s.jobEnd(s.runJob("reader", map[string]any{"nodeCount": 2, "customToolkitSettings": command(`[ "$(cat $AZ_BATCHAI_MOUNT_ROOT/nfs/kept)" = kept ]`)}))
			s.Expect(r.Text("properties", "executionState")).To(gomega.Equal("succeeded"), "what one job wrote on the file server another does not find: "+r.String())
		}},
		{"batchai.job.secret", func(s *session) {
			secret := "hush" + random()
			r := s.jobEnd(s.runJob("secret", map[string]any{"customToolkitSettings": command(`[ "$HUSH" = ` + secret + ` ]`), "secrets": []any{map[string]any{"name": "HUSH", "value": secret}}}))
			s.Expect(r.Text("properties", "executionState")).To(gomega.Equal("succeeded"), "the job does not have its secret variable: "+r.String())
			if list, _ := r.Value("properties", "secrets").([]any); len(list) != 1 || strings.Contains(strings.Replace(string(r.Body), "] = "+secret, "", 1), `"value":"`+secret) {
				s.fail("secrets are reported as %v", list)
			}
		}},
		{"batchai.job.terminate", func(s *session) {
			path := s.runJob("long", map[string]any{"customToolkitSettings": command("sleep 600")})
			s.eventually("the job's start", s.cfg.Budget.Operation, func() bool { return s.get(path, versionBatchAI).Text("properties", "executionState") == "running" })
			r := s.send(http.MethodPost, path+"/terminate", versionBatchAI, nil)
			s.status(r, http.StatusOK, http.StatusAccepted)
			s.done(r)
			s.Expect(s.jobEnd(path).Text("properties", "executionState")).To(gomega.Equal("failed"))
		}},
		{"batchai.job.wallclock", func(s *session) {
			r := s.jobEnd(s.runJob("late", map[string]any{"customToolkitSettings": command("sleep 600"), "constraints": map[string]any{"maxWallClockTime": "PT1S"}}))
			s.Expect(r.Text("properties", "executionState")).To(gomega.Equal("failed"), r.String())
		}},
		{"batchai.job.output", func(s *session) {
			b := s.batchAI()
			r := s.create(b.job("escape"), versionBatchAI, map[string]any{"properties": map[string]any{"cluster": map[string]any{"id": b.cluster}, "nodeCount": 1,
				"stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/../..", "customToolkitSettings": command("true")}})
			s.refused(r, http.StatusBadRequest)
			r = s.create(b.job("climb"), versionBatchAI, map[string]any{"properties": map[string]any{"cluster": map[string]any{"id": b.cluster}, "nodeCount": 1,
				"stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/nfs", "customToolkitSettings": command("true"),
				"outputDirectories": []any{map[string]any{"id": "OUT", "pathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/nfs", "pathSuffix": "../../../up"}}}})
			s.refused(r, http.StatusBadRequest)
		}},
		{"batchai.cluster.released", func(s *session) {
			c := s.batchAI().cluster
			s.eventually("two idle nodes after the jobs", s.cfg.Budget.Operation, func() bool {
				return s.get(c, versionBatchAI).Value("properties", "nodeStateCounts", "idleNodeCount") == 2.0
			})
		}},
		{"batchai.usages", func(s *session) {
			s.batchAI()
			r := s.get(s.subscription()+"/providers/Microsoft.BatchAI/locations/"+strings.ToLower(strings.ReplaceAll(s.cfg.Location, " ", ""))+"/usages", versionBatchAI)
			s.status(r, http.StatusOK)
			if list, _ := r.Value("value").([]any); len(list) == 0 || list[0].(map[string]any)["unit"] != "Count" {
				s.fail("%s; want counts", r)
			}
		}},
		{"batchai.delete", func(s *session) {
			b := s.batchAI()
			r := s.send(http.MethodDelete, b.cluster, versionBatchAI, nil)
			s.swapped(r)
			s.done(r)
			s.refused(s.get(b.cluster, versionBatchAI), http.StatusNotFound)
			s.client.Untrack(b.cluster)
		}},
	}
}
