// Package poor is a deliberately poor Azure Resource Manager: it trusts every
// token, mixes up status codes, forgets headers, sends HTML for JSON, never
// ends an operation, pages in a circle and drops connections. The suite must give an honest report of it.
package poor

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Server is the poor implementation. Groups tells what it holds.
type Server struct {
	mu     sync.Mutex
	groups map[string]string // path -> body
}

// New makes a Server.
func New() *Server { return &Server{groups: map[string]string{}} }

// Groups returns the paths of the groups that were created and not deleted.
func (s *Server) Groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for p := range s.groups {
		list = append(list, p)
	}
	return list
}

// ServeHTTP answers badly.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.ToLower(r.URL.Path)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	json := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	switch {
	case strings.HasSuffix(path, "/oauth2/token"):
		json(200, `{"token_type":"Bearer","access_token":"head.secretclaims.signature","expires_in":"3599"}`)
	case r.Method == http.MethodHead:
		panic(http.ErrAbortHandler) // the connection just ends
	case strings.HasPrefix(path, "/never"):
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusAccepted)
	case path == "/subscriptions":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>It works!</html>")
	case path == "/tenants":
		json(200, `{"value":[{"tenantId"`) // torn
	case len(parts) == 3 && parts[2] == "resourcegroups":
		json(200, fmt.Sprintf(`{"value":[{"name":"same"}],"nextLink":%q}`, "http://"+r.Host+r.URL.RequestURI()))
	case len(parts) == 4 && parts[2] == "resourcegroups":
		s.group(w, r, path, json)
	case strings.Contains(path, "/providers/microsoft.storage") && len(parts) == 4:
		json(200, `{"namespace":"Microsoft.Storage","registrationState":"Registering"}`)
	case strings.Contains(path, "/providers/microsoft.resources/deployments/") && r.Method == http.MethodPut:
		w.Header().Set("Azure-AsyncOperation", "http://"+r.Host+"/never")
		json(201, `{"properties":{"provisioningState":"Accepted"}}`)
	case strings.Contains(path, "/providers/microsoft.machinelearningservices") && len(parts) == 4:
		json(200, `{"registrationState":"Registered"}`)
	case strings.Contains(path, "/providers/"):
		json(404, `{"error":{"code":"InvalidResourceNamespace","message":"no such provider"}}`)
	default:
		json(500, `null`)
	}
}

func (s *Server) group(w http.ResponseWriter, r *http.Request, path string, json func(int, string)) {
	body, ok := s.groups[path]
	switch r.Method {
	case http.MethodPut:
		// The second PUT is 201 as well, and whatever was sent is kept.
		b, _ := io.ReadAll(r.Body)
		s.groups[path] = string(b)
		json(201, string(b))
	case http.MethodDelete:
		delete(s.groups, path)
		w.Header().Set("Location", "http://"+r.Host+"/never")
		w.WriteHeader(http.StatusAccepted)
	default:
		if !ok {
			json(404, `{"code":"NotFound"}`)
			return
		}
		json(200, body)
	}
}
