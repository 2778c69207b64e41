package hdinsight

import (
	"strings"

	"lazulite.dev/emulator/arm"
)

// renderCluster is a cluster as an api-version has it.
func (f *Fake) renderCluster(c arm.Call, r *arm.Resource) (any, error) {
	env, err := arm.Envelope(r)
	if err != nil {
		return nil, err
	}
	env["location"] = arm.DisplayName(r.Location)
	env["type"] = typeCluster
	if len(r.Tags) == 0 {
		env["tags"] = nil
	}
	p, _ := env["properties"].(map[string]any)
	p["provisioningState"] = r.State
	if r.State == "InProgress" && p["clusterState"] == "Accepted" {
		p["clusterHdpVersion"] = "" // nothing is deployed yet
	}
	drop := func(names ...string) {
		for _, n := range names {
			delete(p, n)
		}
	}
	if arm.CompareVersions(c.Version, "2018-06-01-preview") < 0 {
		drop("clusterHdpVersion", "storageProfile")
	}
	if arm.CompareVersions(c.Version, "2021-06-01") < 0 {
		drop("clusterId", "minSupportedTlsVersion", "encryptionInTransitProperties", "networkProperties", "computeIsolationProperties")
	}
	return env, nil
}

// renderApplication is an application; it has a place in ARM's tree, and no location.
func renderApplication(_ arm.Call, r *arm.Resource) (any, error) {
	env, err := arm.Envelope(r)
	if err != nil {
		return nil, err
	}
	env["type"] = typeApplication
	delete(env, "location")
	if len(r.Tags) == 0 {
		env["tags"] = nil
	}
	return env, nil
}

// endpoints by which a cluster is reached.
func endpoints(name string, port int) []endpoint {
	host := strings.ToLower(name)
	return []endpoint{
		{Name: "SSH", Protocol: "TCP", Location: host + "-ssh.azurehdinsight.net", Port: port},
		{Name: "HTTPS", Protocol: "TCP", Location: host + ".azurehdinsight.net", Port: 443},
	}
}
