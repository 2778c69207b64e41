package hdinsight

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"lazulite.dev/fakes/hdinsight/cluster"
)

// ambari is a part of Ambari's REST API: what clients of HDInsight read of a
// cluster, its services, hosts and configurations. Nothing can be changed by it.
type ambari struct {
	base    string // URL of the cluster
	cluster *cluster.Cluster
	active  bool // YARN answers, or Spark's own master
}

type object = map[string]any

// serveAmbari is /api/v1.
func (f *Fake) serveAmbari(w http.ResponseWriter, r *http.Request, c *cluster.Cluster, rest string) {
	a := ambari{base: "https://" + r.Host + "/api/v1/clusters/" + c.Spec().Name, cluster: c, active: f.answers(r.Context(), c)}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		ambariError(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	path := strings.FieldsFunc(rest, func(c rune) bool { return c == '/' })
	doc, found := a.read(path, r.URL.Query())
	if !found {
		ambariError(w, http.StatusNotFound, "The requested resource doesn't exist: "+strings.Join(path, "/"))
		return
	}
	// Ambari says plain text of what is JSON.
	w.Header().Set("Content-Type", "text/plain")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(doc)
}

func ambariError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"status": status, "message": message})
}

func (f *Fake) answers(ctx context.Context, c *cluster.Cluster) bool {
	_, err := c.Active(ctx)
	return err == nil
}

// components of a service, by the role of the nodes that have them.
type component struct {
	name string
	role cluster.Role
}

// services that clusters of the kind have: those that really run.
func (a ambari) services() map[string][]component {
	if !a.cluster.Spec().Hadoop {
		return nil
	}
	if a.active && !a.cluster.HasYARN() {
		return map[string][]component{"SPARK2": {{"SPARK2_CLIENT", cluster.Head}}}
	}
	return map[string][]component{
		"YARN":   {{"RESOURCEMANAGER", cluster.Head}, {"NODEMANAGER", cluster.Worker}, {"YARN_CLIENT", cluster.Head}},
		"SPARK2": {{"SPARK2_CLIENT", cluster.Head}},
	}
}

func (a ambari) state(c component) string {
	if strings.HasSuffix(c.name, "_CLIENT") {
		return "INSTALLED"
	}
	if a.active {
		return "STARTED"
	}
	return "INSTALLED"
}

func (a ambari) read(path []string, query map[string][]string) (any, bool) {
	name := a.cluster.Spec().Name
	if len(path) == 0 || path[0] != "clusters" {
		return nil, false
	}
	path = path[1:]
	if len(path) == 0 {
		return object{"href": strings.TrimSuffix(a.base, "/"+name), "items": []object{{"href": a.base, "Clusters": a.summary()}}}, true
	}
	if !strings.EqualFold(path[0], name) {
		return nil, false
	}
	path = path[1:]
	if len(path) == 0 {
		return a.whole(), true
	}
	switch path[0] {
	case "services":
		return a.readServices(path[1:])
	case "hosts":
		return a.readHosts(path[1:])
	case "configurations":
		if len(path) > 1 {
			return nil, false
		}
		return a.readConfigurations(query)
	}
	return nil, false
}

func (a ambari) summary() object {
	return object{"cluster_name": a.cluster.Spec().Name, "version": "HDP-2.6", "provisioning_state": "INSTALLED", "security_type": "NONE", "total_hosts": len(a.cluster.Nodes())}
}

func (a ambari) whole() object {
	clusters := a.summary()
	desired := object{}
	for name := range a.cluster.Configurations() {
		desired[name] = object{"tag": "INITIAL", "version": 1}
	}
	clusters["desired_configs"] = desired
	hosts, _ := a.readHosts(nil)
	services, _ := a.readServices(nil)
	return object{"href": a.base, "Clusters": clusters, "hosts": hosts.(object)["items"], "services": services.(object)["items"]}
}

func (a ambari) readServices(path []string) (any, bool) {
	all := a.services()
	if len(path) == 0 {
		items := []object{}
		for _, name := range sorted(all) {
			items = append(items, object{"href": a.base + "/services/" + name, "ServiceInfo": a.service(name)})
		}
		return object{"href": a.base + "/services", "items": items}, true
	}
	name := path[0]
	parts, ok := all[name]
	if !ok {
		return nil, false
	}
	href := a.base + "/services/" + name
	var items []object
	for _, c := range parts {
		item := object{"href": href + "/components/" + c.name, "ServiceComponentInfo": object{"cluster_name": a.cluster.Spec().Name, "service_name": name,
			"component_name": c.name, "state": a.state(c), "total_count": len(a.on(c.role)), "started_count": a.started(c)}}
		if len(path) == 3 && path[1] == "components" && path[2] == c.name {
			item["host_components"] = a.hostComponents(c)
			return item, true
		}
		items = append(items, item)
	}
	switch {
	case len(path) == 1:
		return object{"href": href, "ServiceInfo": a.service(name), "components": items}, true
	case len(path) == 2 && path[1] == "components":
		return object{"href": href + "/components", "items": items}, true
	}
	return nil, false
}

func (a ambari) service(name string) object {
	state := "STARTED"
	if !a.active {
		state = "INSTALLED"
	}
	return object{"cluster_name": a.cluster.Spec().Name, "service_name": name, "state": state, "maintenance_state": "OFF"}
}

func (a ambari) started(c component) int {
	if a.state(c) != "STARTED" {
		return 0
	}
	return len(a.on(c.role))
}

func (a ambari) on(role cluster.Role) []cluster.Node {
	return slices.DeleteFunc(a.cluster.Nodes(), func(n cluster.Node) bool { return n.Role != role })
}

func (a ambari) hostComponents(c component) []object {
	out := []object{}
	for _, n := range a.on(c.role) {
		out = append(out, object{"href": a.base + "/hosts/" + n.Host + "/host_components/" + c.name,
			"HostRoles": object{"cluster_name": a.cluster.Spec().Name, "component_name": c.name, "host_name": n.Host, "state": a.state(c)}})
	}
	return out
}

func (a ambari) readHosts(path []string) (any, bool) {
	items := []object{}
	for _, n := range a.cluster.Nodes() {
		item := object{"href": a.base + "/hosts/" + n.Host, "Hosts": object{"cluster_name": a.cluster.Spec().Name, "host_name": n.Host, "public_host_name": n.Host,
			"host_state": "HEALTHY", "host_status": "HEALTHY", "os_type": "linux"}}
		if len(path) == 1 && strings.EqualFold(path[0], n.Host) {
			parts := []object{}
			for _, name := range sorted(a.services()) {
				for _, c := range a.services()[name] {
					if c.role == n.Role {
						parts = append(parts, object{"HostRoles": object{"component_name": c.name, "host_name": n.Host, "service_name": name, "state": a.state(c)}})
					}
				}
			}
			item["host_components"] = parts
			return item, true
		}
		items = append(items, item)
	}
	return object{"href": a.base + "/hosts", "items": items}, len(path) == 0
}

func (a ambari) readConfigurations(query map[string][]string) (any, bool) {
	all := a.cluster.Configurations()
	items := []object{}
	types := query["type"]
	for _, name := range sorted(all) {
		if len(types) > 0 && !slices.Contains(types, name) {
			continue
		}
		item := object{"href": a.base + "/configurations?type=" + name + "&tag=INITIAL", "type": name, "tag": "INITIAL", "version": 1,
			"Config": object{"cluster_name": a.cluster.Spec().Name}}
		// As with Ambari, a list has no values; a question by type and tag has.
		if len(types) > 0 {
			item["properties"] = all[name]
		}
		items = append(items, item)
	}
	return object{"href": a.base + "/configurations", "items": items}, true
}

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
