package conformance

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/onsi/gomega"

	"lazulite.dev/conformance/wire"
)

// The workflow of the seed (Azure's "Select and use a compute target", October
// 2018) on the targets that the service reaches by itself: a target is created,
// found or attached, the script of every other target is submitted to it
// unchanged, waited for and looked at, and its model is registered.

// order says how a definition differs from that of a script on a plain machine.
type order struct {
	target        string
	docker        bool
	systemManaged []any // conda dependencies; nil: user-managed
	change        func(configuration map[string]any)
}

// orderRun submits the suite's script to a target of the service's own and returns the run.
func (s *session) orderRun(o order, script string, arguments ...any) (id, u string) {
	w := s.workspace()
	r := s.sendOrder(o, script, arguments...)
	s.status(r, http.StatusOK)
	id = s.text(r, "runId")
	u = w.experiment("history") + "/runs/" + id
	s.later(func() {
		if r := s.do(wire.Request{Method: http.MethodGet, URL: u}); going[r.Text("status")] {
			s.cancelOn(id, o.target)
		}
	})
	return id, u
}

func (s *session) sendOrder(o order, script string, arguments ...any) *wire.Response {
	w := s.workspace()
	files := w.configFiles()
	files["train.py"] = script
	return s.multipart(w.experiment("execution")+"/run",
		part{filename: "definition.json", content: s.orderDefinition(o, arguments...)},
		part{filename: "project.zip", content: zipped(s, files)})
}

func (s *session) orderDefinition(o order, arguments ...any) string {
	return s.definitionWith(o.target, func(c map[string]any) {
		environment := c["environment"].(map[string]any)
		environment["docker"].(map[string]any)["enabled"] = o.docker
		if o.systemManaged != nil {
			python := environment["python"].(map[string]any)
			python["userManagedDependencies"] = false
			python["condaDependencies"] = map[string]any{"name": "project_environment", "dependencies": o.systemManaged}
		}
		if o.change != nil {
			o.change(c)
		}
	}, arguments...)
}

// whole checks everything that a completed run of the suite's script leaves, and registers its model.
func (s *session) whole(id, u, target string) {
	d := s.follow(u, nil)
	s.ended(d, "Completed")
	s.Expect(d.Target).To(equalFold(target))
	s.Expect(cells(s.metrics(id), "accuracy", "scalar")).To(gomega.Equal([]string{"accuracy=0.75"}))
	s.Expect(s.download("ExperimentRun", id, "outputs/model.txt")).To(gomega.Equal("weights of " + id))
	s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: hello " + scriptWord))
	name := "model" + random()
	s.Expect(s.register(name, id, "outputs/model.txt").Text("id")).To(gomega.Equal(name + ":1"))
}

// amlCluster is a compute of Batch AI in the workspace.
type amlCluster struct{ name, resource string }

// amlCluster creates one as BatchAiCompute.create does.
func (s *session) amlCluster() *amlCluster {
	return obtain(s, &s.fix.amlCluster, "a Batch AI compute", func() *amlCluster {
		s.provider("Microsoft.BatchAI")
		c := &amlCluster{name: computeName()}
		path := s.workspace().compute(c.name)
		r := s.create(path, versionWorkspace, map[string]any{"location": s.cfg.Location, "properties": map[string]any{
			"computeType": "BatchAI", "properties": map[string]any{"vmSize": "STANDARD_D2_V2", "vmPriority": "dedicated",
				"scaleSettings": map[string]any{"autoScaleEnabled": false, "minNodeCount": 1, "maxNodeCount": 1}}}})
		s.begun(r, c.name)
		s.done(r)
		r = s.get(path, versionWorkspace)
		s.Expect(r.Text("properties", "provisioningState")).To(gomega.Equal("Succeeded"), r.String())
		c.resource = s.text(r, "properties", "resourceId")
		return c
	})
}

// detailed waits until the compute's detailed status, whose dotted keys 0.1.68 reads literally, has a node.
func (s *session) detailed(name string) *wire.Response {
	var r *wire.Response
	s.eventually("a node of "+name, s.cfg.Budget.Operation, func() bool {
		r = s.get(s.workspace().compute(name), versionWorkspace)
		s.status(r, http.StatusOK)
		n, _ := r.Value("properties", "status", "detailedStatus", "properties.currentNodeCount").(float64)
		return n >= 1
	})
	return r
}

func workflowSpecs() []spec {
	return []spec{
		{"local.run.system-managed", func(s *session) {
			s.localHost()
			run := s.submitWith(order{target: "local", systemManaged: []any{"python=3.6.2", map[string]any{"pip": []string{"six"}}}},
				projectFile{"train.py", "import six, sys\nprint('conformance: six', six.__version__, sys.prefix)\n"})
			d := s.follow(run.url, nil)
			if why := strings.ToLower(fmt.Sprint(d.Error)); d.Status == "Failed" && strings.Contains(why, "no package index") {
				s.skip("no package index: %v", d.Error)
			}
			s.ended(d, "Completed")
			s.Expect(s.logs(d)).To(gomega.ContainSubstring("conformance: six "))
		}},
		{"batchai.compute.create", func(s *session) {
			c := s.amlCluster()
			r := s.detailed(c.name)
			props, _ := r.Value("properties", "properties").(map[string]any)
			for _, k := range []string{"vmSize", "vmPriority", "scaleSettings"} {
				if !hasKey(props, k) {
					s.fail("%s; the SDK needs properties.properties.%s", r, k)
				}
			}
			s.Expect(r.Text("properties", "status", "detailedStatus", "properties.provisioningState")).To(equalFold("succeeded"), r.String())
		}},
		{"batchai.compute.find", func(s *session) {
			c := s.amlCluster()
			if !namedID(s.list(s.workspace().path+"/computes", versionWorkspace), c.name) {
				s.fail("the workspace's computes lack %s", c.name)
			}
			r := s.get(c.resource, versionBatchAI)
			s.status(r, http.StatusOK)
			s.Expect(r.Text("properties", "provisioningState")).To(equalFold("succeeded"), r.String())
		}},
		{"batchai.compute.attach", func(s *session) {
			c := s.amlCluster()
			name := computeName()
			path := s.workspace().compute(name)
			r := s.create(path, versionWorkspace, map[string]any{"location": s.cfg.Location, "tags": nil,
				"properties": map[string]any{"computeType": "BatchAI", "resourceId": c.resource, "description": ""}})
			s.begun(r, name)
			s.done(r)
			s.detailed(name)
			s.removeCompute(path)
			// Detaching leaves the cluster alone.
			s.status(s.get(c.resource, versionBatchAI), http.StatusOK)
		}},
		{"batchai.compute.absent", func(s *session) {
			c := s.amlCluster()
			r := s.create(s.workspace().compute(computeName()), versionWorkspace, map[string]any{"location": s.cfg.Location, "tags": nil,
				"properties": map[string]any{"computeType": "BatchAI", "resourceId": c.resource + "-absent", "description": ""}})
			if r.OK() {
				if op := s.await(r); op.Succeeded() {
					s.fail("a cluster that isn't there was attached: %s", op.Last)
				}
			}
		}},
		{"batchai.run.completed", func(s *session) {
			c := s.amlCluster()
			id, u := s.orderRun(order{target: c.name, docker: true}, trainScript, "--word", scriptWord)
			s.whole(id, u, c.name)
		}},
		{"batchai.run.failed", func(s *session) {
			c := s.amlCluster()
			id, u := s.orderRun(order{target: c.name, docker: true}, trainScript, "--exit", 3)
			s.ended(s.follow(u, nil), "Failed")
			s.Expect(cells(s.metrics(id), "accuracy", "scalar")).To(gomega.HaveLen(1), "what was logged before the failure is kept")
		}},
		{"batchai.run.canceled", func(s *session) {
			c := s.amlCluster()
			id, u := s.orderRun(order{target: c.name, docker: true}, trainScript, "--sleep", 600)
			s.follow(u, func(details) bool { return len(cells(s.metrics(id), "accuracy", "scalar")) > 0 })
			s.cancelOn(id, c.name)
			s.canceled(u)
		}},
		{"batchai.compute.delete", func(s *session) {
			c := s.amlCluster()
			s.removeCompute(s.workspace().compute(c.name))
			s.eventually("the end of the cluster", s.cfg.Budget.Operation, func() bool {
				return s.get(c.resource, versionBatchAI).Status == http.StatusNotFound
			})
		}},
		{"aci.run.completed", func(s *session) {
			id, u := s.orderRun(s.onACI(nil), trainScript, "--word", scriptWord)
			s.whole(id, u, "containerinstance")
		}},
		{"aci.run.failed", func(s *session) {
			_, u := s.orderRun(s.onACI(nil), trainScript, "--exit", 3)
			s.ended(s.follow(u, nil), "Failed")
		}},
		{"aci.run.canceled", func(s *session) {
			id, u := s.orderRun(s.onACI(nil), trainScript, "--sleep", 600)
			s.follow(u, func(details) bool { return len(cells(s.metrics(id), "accuracy", "scalar")) > 0 })
			s.cancelOn(id, "containerinstance")
			s.canceled(u)
		}},
		// What the seed's table says that a target may not do.
		{"aci.run.gpu", func(s *session) {
			s.refusedOrder(s.onACI(func(c map[string]any) {
				c["environment"].(map[string]any)["docker"].(map[string]any)["gpuSupport"] = true
			}))
		}},
		{"aci.run.region", func(s *session) {
			s.refusedOrder(s.onACI(func(c map[string]any) { c["containerInstance"].(map[string]any)["region"] = "moonbase" }))
		}},
		{"aci.attach", func(s *session) {
			s.provider("Microsoft.ContainerInstance")
			s.refusedCompute(map[string]any{"computeType": "ContainerInstance", "resourceId": s.group() + "/providers/Microsoft.ContainerInstance/containerGroups/g"})
		}},
		{"hdinsight.create", func(s *session) {
			s.provider("Microsoft.HDInsight")
			s.refusedCompute(map[string]any{"computeType": "HDInsight", "properties": map[string]any{"clusterSize": 2}})
		}},
		{"aml.hyperdrive.aci", func(s *session) { s.refusedHyperDrive("aci", "containerinstance") }},
	}
}

// onACI is a run as the SDK sends it to Azure Container Instances.
func (s *session) onACI(change func(map[string]any)) order {
	s.provider("Microsoft.ContainerInstance")
	return order{target: "containerinstance", docker: true, change: func(c map[string]any) {
		c["containerInstance"] = map[string]any{"cpuCores": 1, "memoryGb": 2, "region": "eastus"}
		if change != nil {
			change(c)
		}
	}}
}

func (s *session) canceled(u string) {
	var last string
	s.eventually("the end of the canceled run", s.cfg.Budget.Operation, func() bool {
		last = s.readRun(u).Status
		return !going[last] && last != "CancelRequested"
	})
	s.Expect(last).To(gomega.Equal("Canceled"))
}

// refusedOrder checks that a run is refused at once, or fails with a reason, and never completes.
func (s *session) refusedOrder(o order) {
	r := s.sendOrder(o, trainScript)
	if r.Status >= 400 && r.Status < 500 {
		return
	}
	s.status(r, http.StatusOK)
	d := s.follow(s.workspace().experiment("history")+"/runs/"+s.text(r, "runId"), nil)
	if d.Status != "Failed" {
		s.fail("the run ended %q; the target cannot do that", d.Status)
	}
}

// refusedCompute checks that a workspace takes no such compute.
func (s *session) refusedCompute(properties map[string]any) {
	path := s.workspace().compute(computeName())
	r := s.create(path, versionWorkspace, map[string]any{"location": s.cfg.Location, "properties": properties})
	if r.Status >= 400 && r.Status < 500 {
		s.status(s.get(path, versionWorkspace), http.StatusNotFound)
		return
	}
	if op := s.await(r); op.Succeeded() {
		s.fail("%s; the workspace can't have such a compute", r)
	}
	s.removeCompute(path)
}

// refusedHyperDrive checks that hyperparameter tuning is refused on a target that has none of it.
func (s *session) refusedHyperDrive(platform, target string) {
	config := map[string]any{"platform": platform, "user": "conformance", "name": "conformance", "primary_metric_config": map[string]any{"name": "accuracy", "goal": "maximize"},
		"max_total_jobs": 1, "max_concurrent_jobs": 1, "max_duration_minutes": 10, "policy_config": map[string]any{"name": "DEFAULT"},
		"generator_config": map[string]any{"name": "RANDOM", "parameter_space": map[string]any{"--exit": []any{"choice", []any{[]any{0}}}}},
		"platform_config":  map[string]any{"Definition": map[string]any{"Overrides": map[string]any{"target": target, "script": "train.py"}}}}
	r := s.do(wire.Request{Method: http.MethodPost, URL: s.workspace().experiment("hyperdrive") + "/runs", Body: config})
	if r.OK() {
		s.fail("%s; there is no hyperparameter tuning on %s", r, target)
	}
	if r.Status >= 500 && r.Status != http.StatusNotImplemented {
		s.fail("%s; a refusal is the client's error", r)
	}
}
