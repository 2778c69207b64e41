package emulator

import (
	"path/filepath"
	"sort"
)

// Var is one environment variable.
type Var struct{ Name, Value string }

// Env is all that an unmodified client needs in its environment, sorted by name.
//
// The proxy is how the SDK of 2018 is reached, whose host names are hard-coded;
// the bundle is the machine's public roots and ours, so that everything else
// that the same process fetches goes on working.
func (e *Emulator) Env() []Var {
	return EnvFor(e.front.Addr(), e.dir, e.front.CAFile(), e.front.BundleFile(), e.identity)
}

// EnvFor is Env for an emulator of another process, by what its data folder tells of it.
func EnvFor(addr, dir, caFile, bundleFile string, id Identity) []Var {
	proxy := "http://" + addr
	vars := []Var{
		{"HTTP_PROXY", proxy}, {"http_proxy", proxy}, {"HTTPS_PROXY", proxy}, {"https_proxy", proxy},
		{"NO_PROXY", direct + loopback}, {"no_proxy", direct + loopback},
		{"NODE_EXTRA_CA_CERTS", caFile},
		{"AZURE_TENANT_ID", id.Tenant}, {"AZURE_CLIENT_ID", id.ClientID}, {"AZURE_CLIENT_SECRET", id.ClientSecret},
		{"AZURE_SUBSCRIPTION_ID", id.Subscription},
		// az's own folder, so that the user's real log-in stays out of this.
		{"AZURE_CONFIG_DIR", filepath.Join(dir, "azure")},
		{"AZURE_CORE_COLLECT_TELEMETRY", "no"},
		// With this, code that passes no auth to the SDK is logged in without a person.
		{"MSI_ENDPOINT", proxy + "/msi/token"},
	}
	for _, name := range bundleVariables {
		vars = append(vars, Var{name, bundleFile})
	}
	sort.Slice(vars, func(i, j int) bool { return vars[i].Name < vars[j].Name })
	return vars
}

// bundleVariables name the file of all roots that a client trusts: for requests,
// msrest and adal; OpenSSL and Go; curl and pycurl; websocket-client of az 2.0.50.
var bundleVariables = [...]string{"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"}
