package aml

import (
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// discoveryPath is below the experiments host of the workspace's region.
const discoveryPath = "/discovery"

// experimentsURL is the base of everything in a region's data plane but model management.
func experimentsURL(location string) string {
	return "https://" + location + ".experiments.azureml.net"
}

// discoveryURL is what a workspace's properties.discoveryUrl says.
func discoveryURL(location string) string {
	return experimentsURL(location) + discoveryPath
}

// serveDiscovery answers the service discovery document: key -> base URL.
// SDK 0.1.68 looks up six keys at once and sends no token for it; "api" and
// the rest are what SDK 1.x adds.
func (s *Service) serveDiscovery(w http.ResponseWriter, r *http.Request) bool {
	if !strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), discoveryPath) {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	region, _, _ := strings.Cut(r.Host, ".")
	experiments := experimentsURL(region)
	doc := map[string]string{
		"modelmanagement": "https://" + region + ".modelmanagement.azureml.net",
	}
	for _, key := range []string{"history", "experimentation", "experimentgraphs", "pipelines", "hyperdrive",
		"api", "catalog", "gallery", "jasmine", "studio"} {
		doc[key] = experiments
	}
	if s.cfg.ProxyURL != nil && s.cfg.ProxyURL() != "" {
		// Of all of the SDK, its client of this one uses no proxy and trusts no roots but its own.
		doc["hyperdrive"] = s.cfg.ProxyURL()
	}
	plane.WriteJSON(w, http.StatusOK, doc)
	return true
}
