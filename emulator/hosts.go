package emulator

import (
	"context"
	"net"
	"net/http"
	"strings"

	"lazulite.dev/emulator/front"
	"lazulite.dev/fakes/aci"
)

// hosts is the table from Azure's names to what answers for them. The last
// rows are names of Azure that lazulite knows and does not emulate: they are
// refused with words, never tunnelled to the real cloud.
func (e *Emulator) hosts() []front.Host {
	authority := http.Handler(e.authority)
	// The door is made before what is behind it: its bundle is what runs have to trust.
	manager := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.manager.ServeHTTP(w, r) })
	learning := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.learning.ServeHTTP(w, r) })
	sockets := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.containers.ServeHTTP(w, r) })
	dial := func(ctx context.Context, name, port string) (net.Conn, error) {
		return e.containers.Dial(ctx, name, port)
	}
	table := []front.Host{
		{Pattern: "management.azure.com", Handler: manager},
		{Pattern: "login.microsoftonline.com", Handler: authority},
		{Pattern: "login.windows.net", Handler: authority},
		{Pattern: "login.microsoft.com", Handler: authority},
		{Pattern: "sts.windows.net", Handler: authority},
		{Pattern: "**.azureml.net", Handler: learning},
		{Pattern: "**.azureml.ms", Handler: learning},
		{Pattern: "azcliprod.blob.core.windows.net", Handler: http.HandlerFunc(e.serveAzBlobs)},
		{Pattern: publicScripts, Handler: http.HandlerFunc(servePublicScript)},
		{Pattern: "*.blob.core.windows.net", Handler: e.blob},
		{Pattern: "*.file.core.windows.net", Handler: e.blob.FileHandler()},
		// Websockets of containers' terminals, and the containers themselves.
		{Pattern: "**.management." + aci.Domain, Handler: sockets},
		{Pattern: "**." + aci.Domain, Dial: dial},
		{Pattern: aci.Addresses, Dial: dial},
		{Pattern: aci.Unrouted, Dial: dial},
		// The gateways of clusters, and their nodes' SSH.
		{Pattern: "**.azurehdinsight.net", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.hadoop.Gateway().ServeHTTP(w, r) }), Tunnel: e.dialCluster},
		{Pattern: "localhost", Handler: http.HandlerFunc(e.serveLocal)},
		{Pattern: "127.0.0.1", Handler: http.HandlerFunc(e.serveLocal)},
		{Pattern: "[::1]", Handler: http.HandlerFunc(e.serveLocal)},
		{Pattern: "169.254.169.254", Handler: authority},
		{Pattern: "raw.githubusercontent.com", Handler: http.HandlerFunc(serveAliases), Only: []string{aliases2018Path, aliasesPath}},
	}
	for _, name := range []string{"graph.windows.net", "graph.microsoft.com", "management.core.windows.net", "*.vault.azure.net",
		"*.azurecr.io", "*.queue.core.windows.net", "*.table.core.windows.net", "*.dfs.core.windows.net",
		"*.database.windows.net", "**.services.visualstudio.com", "**.azure.com"} {
		table = append(table, front.Host{Pattern: name})
	}
	return table
}

// alias is the address of the web service that has a name of its owner's for SSL.
func (e *Emulator) alias(ctx context.Context, name string) string {
	address, err := e.aml.ServiceAddress(ctx, name)
	if err != nil {
		e.log.Warn("looking a host name up among the web services", "name", name, "error", err)
	}
	return address
}

// armRoots are the first path segments of the resource manager when it is
// reached by the emulator's own address (az cloud register).
var armRoots = []string{"subscriptions", "providers", "tenants", "metadata", "locations", "resources"}

// serveLocal tells apart by path what comes to the emulator's own address: a
// registered cloud has its resource manager and its authority on one host.
func (e *Emulator) serveLocal(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if strings.EqualFold(first, "metadata") && strings.HasPrefix(strings.ToLower(rest), "identity") {
		e.authority.ServeHTTP(w, r)
		return
	}
	for _, root := range armRoots {
		if strings.EqualFold(first, root) {
			e.manager.ServeHTTP(w, r)
			return
		}
	}
	if first == "hyperdrive" {
		e.learning.ServeHTTP(w, r)
		return
	}
	if first == "exec" || first == "attach" {
		e.containers.ServeHTTP(w, r)
		return
	}
	if first == "lazulite" || first == "" {
		e.serveManagement(w, r)
		return
	}
	if rest == "" {
		// All of the authority's paths are below a tenant: this is a client of the resource manager gone astray.
		e.manager.ServeHTTP(w, r)
		return
	}
	e.authority.ServeHTTP(w, r)
}
