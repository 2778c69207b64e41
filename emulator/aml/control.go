package aml

import (
	"net/http"
	"strings"
)

// controlPrefix is where the region's "api" host has its own door to the
// resource manager: SDK 1.x reads workspaces and computes there, and writes
// them at management.azure.com.
const controlPrefix = "/rp/workspaces"

// serveControl hands a request below controlPrefix to the resource manager, as
// one that came to that host: links in the answer lead there. It reports
// whether the path was its own.
func (s *Service) serveControl(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.EscapedPath()
	if len(path) <= len(controlPrefix) || !strings.EqualFold(path[:len(controlPrefix)], controlPrefix) || path[len(controlPrefix)] != '/' {
		return false
	}
	in := r.Clone(r.Context())
	in.URL.Path, in.URL.RawPath = r.URL.Path[len(controlPrefix):], ""
	if r.URL.RawPath != "" {
		in.URL.RawPath = r.URL.RawPath[len(controlPrefix):]
	}
	in.Host = strings.TrimPrefix(managementHost, "https://")
	s.engine.Load().ServeHTTP(w, in)
	return true
}
