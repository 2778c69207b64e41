package emulator

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"runtime"
	"strings"

	"lazulite.dev/emulator/arm"
)

// Version of lazulite.
const Version = "0.1.0"

// Status is what the management interface and `lazulite status` tell.
type Status struct {
	Version      string `json:"version"`
	PID          int    `json:"pid"`
	Address      string `json:"address"`
	Dir          string `json:"dir"`
	Engine       string `json:"engine"`
	Lifecycle    string `json:"lifecycle"`
	Seed         int64  `json:"seed"`
	Offline      bool   `json:"offline"`
	Ephemeral    bool   `json:"ephemeral"`
	Tenant       string `json:"tenant"`
	Subscription string `json:"subscription"`
	CAFile       string `json:"caFile"`
	BundleFile   string `json:"bundleFile"`
	Goroutines   int    `json:"goroutines"`
	// Hosts are names that take logins over SSH, with their addresses.
	Hosts map[string]string `json:"hosts,omitempty"`
}

// Status of this instance.
func (e *Emulator) Status() Status {
	return Status{Version: Version, PID: os.Getpid(), Address: e.front.Addr(), Dir: e.dir, Engine: e.engine.Name(),
		Lifecycle: e.cfg.Lifecycle, Seed: e.cfg.Seed, Offline: e.cfg.Offline, Ephemeral: e.cfg.Dir == "",
		Tenant: e.identity.Tenant, Subscription: e.identity.Subscription,
		CAFile: e.front.CAFile(), BundleFile: e.front.BundleFile(), Goroutines: runtime.NumGoroutine(), Hosts: e.hadoop.Names()}
}

// serveManagement is what Azure does not have: /lazulite/status, /lazulite/ca.pem
// and, with the instance's admin token, /lazulite/stop and /lazulite/batchai/preempt.
// The token keeps out the pages that a browser on this machine shows.
func (e *Emulator) serveManagement(w http.ResponseWriter, r *http.Request) {
	switch path := strings.TrimSuffix(r.URL.Path, "/"); {
	case r.Method == http.MethodGet && (path == "" || path == "/lazulite" || path == "/lazulite/status"):
		reply(w, http.StatusOK, e.Status())
	case r.Method == http.MethodGet && path == "/lazulite/ca.pem":
		w.Header().Set("Content-Type", "application/x-pem-file")
		http.ServeFile(w, r, e.front.CAFile())
	case r.Method == http.MethodPost && path == "/lazulite/stop" && e.admin(w, r):
		reply(w, http.StatusAccepted, map[string]string{"status": "stopping"})
		e.stopOnce.Do(func() { close(e.stop) })
	case r.Method == http.MethodPost && path == "/lazulite/batchai/preempt" && e.admin(w, r):
		e.preempt(w, r)
	case r.Method == http.MethodPost && (path == "/lazulite/stop" || path == "/lazulite/batchai/preempt"):
	default:
		reply(w, http.StatusNotFound, map[string]string{"error": "lazulite has no " + r.Method + " " + r.URL.Path})
	}
}

// admin says whether the request has the admin token; if not, it is answered.
func (e *Emulator) admin(w http.ResponseWriter, r *http.Request) bool {
	given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), []byte(e.identity.AdminToken)) == 1 {
		return true
	}
	reply(w, http.StatusUnauthorized, map[string]string{"error": "the admin token of the data folder's identity.json is required"})
	return false
}

// preempt takes a low-priority node of a Batch AI cluster away: {"cluster": its ARM id, "node": its id}.
func (e *Emulator) preempt(w http.ResponseWriter, r *http.Request) {
	var in struct{ Cluster, Node string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "a JSON object with cluster and node is wanted"})
		return
	}
	err := e.clusters.Preempt(r.Context(), in.Cluster, in.Node)
	var refused *arm.Error
	switch {
	case err == nil:
		reply(w, http.StatusAccepted, map[string]string{"status": "preempted"})
	case errors.As(err, &refused):
		reply(w, refused.Status, map[string]string{"error": refused.Message})
	default:
		e.log.Error("preemption", "cluster", in.Cluster, "node", in.Node, "error", err)
		reply(w, http.StatusInternalServerError, map[string]string{"error": "the node could not be preempted"})
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
