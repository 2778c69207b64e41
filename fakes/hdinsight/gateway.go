package hdinsight

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"lazulite.dev/fakes/hdinsight/cluster"
)

// The domain of all clusters.
const domain = ".azurehdinsight.net"

// Gateway is what answers at CLUSTER.azurehdinsight.net: it asks for the cluster
// login, and passes requests on to the cluster's services.
func (f *Fake) Gateway() http.Handler { return http.HandlerFunc(f.serveGateway) }

func (f *Fake) serveGateway(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name := strings.TrimSuffix(strings.ToLower(host), domain)
	c := f.named(strings.TrimSuffix(name, "-int"))
	w.Header().Set("Server", "Microsoft-IIS/8.5")
	if c == nil {
		// The name of a cluster that is not there would not resolve.
		http.Error(w, "The host "+host+" was not found.", http.StatusNotFound)
		return
	}
	if !admitted(c, r) {
		w.Header().Set("Www-Authenticate", `Basic realm="`+host+`"`)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	for _, s := range f.services() {
		if rest, ok := cutPath(r.URL.Path, s.path); ok {
			s.serve(w, r, c, rest)
			return
		}
	}
	http.NotFound(w, r)
}

// service of the gateway, below a path.
type service struct {
	path  string
	serve func(w http.ResponseWriter, r *http.Request, c *cluster.Cluster, rest string)
}

// services of the gateway. What is not among them is not found.
func (f *Fake) services() []service {
	return []service{
		{"/api/v1", f.serveAmbari},
		{"/livy", f.serveLivy},
		{"/yarnui", f.serveYARN},
		{"/ws/v1/cluster", func(w http.ResponseWriter, r *http.Request, c *cluster.Cluster, rest string) {
			f.serveYARN(w, r, c, "/ws/v1/cluster"+rest)
		}},
	}
}

// cutPath takes whole segments off a path.
func cutPath(path, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// named finds a cluster that is up by its name.
func (f *Fake) named(name string) *cluster.Cluster {
	for _, c := range f.fleet.All() {
		if strings.EqualFold(c.Spec().Name, name) {
			return c
		}
	}
	return nil
}

// admitted says whether a request has the cluster's login.
func admitted(c *cluster.Cluster, r *http.Request) bool {
	s := c.Spec()
	user, password, ok := r.BasicAuth()
	digest := notes{ID: s.ID}.digest(password)
	right := subtle.ConstantTimeCompare([]byte(digest), []byte(s.Gateway.Digest)) & subtle.ConstantTimeCompare([]byte(strings.ToLower(user)), []byte(strings.ToLower(s.Gateway.User)))
	return ok && s.Gateway.Enabled && right == 1
}

// serveYARN passes on to the resource manager's own web services and pages.
func (f *Fake) serveYARN(w http.ResponseWriter, r *http.Request, c *cluster.Cluster, rest string) {
	base, err := c.ResourceManager(r.Context())
	if lacking, ok := unavailable(err); ok {
		// It will not be there by waiting.
		http.Error(w, "The service is not available: "+lacking.Error(), http.StatusNotFound)
		return
	} else if err != nil {
		badGateway(w, err)
		return
	}
	target, err := url.Parse(base)
	if err != nil {
		badGateway(w, err)
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.URL.Path, p.Out.URL.RawPath = rest, ""
			if rest == "" {
				p.Out.URL.Path = "/"
			}
			p.Out.Header.Del("Authorization")
			p.Out.Host = target.Host
		},
		// Always to this host: never through a proxy of the environment.
		Transport:    &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { badGateway(w, err) },
	}
	proxy.ServeHTTP(w, r)
}

// badGateway is the answer where a service does not run.
func badGateway(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	if errors.Is(err, context.Canceled) {
		status = http.StatusServiceUnavailable
	}
	http.Error(w, "The service is not available: "+err.Error(), status)
}

// Resolve gives the address of a host name that takes logins over SSH:
// CLUSTER-ssh.azurehdinsight.net, and APPLICATION.CLUSTER-ssh.azurehdinsight.net.
func (f *Fake) Resolve(host string) (address string, port int, ok bool) {
	if f.fleet == nil {
		return "", 0, false
	}
	name, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), domain)
	if !ok {
		return "", 0, false
	}
	node := "hn0"
	if app, rest, dotted := strings.Cut(name, "."); dotted {
		node, name = "ed-"+app, rest
	}
	name, ssh := strings.CutSuffix(name, "-ssh")
	if !ssh {
		return "", 0, false
	}
	c := f.named(name)
	if c == nil {
		return "", 0, false
	}
	return c.Place(node)
}

// Names are the host names that Resolve knows, with their addresses.
func (f *Fake) Names() map[string]string {
	out := map[string]string{}
	if f.fleet == nil {
		return out
	}
	for _, c := range f.fleet.All() {
		name := strings.ToLower(c.Spec().Name)
		for _, n := range c.Nodes() {
			address, _, ok := c.Place(n.Name)
			switch {
			case !ok:
			case n.Role == cluster.Head:
				out[name+"-ssh"+domain] = address
			default:
				out[strings.TrimPrefix(n.Name, "ed-")+"."+name+"-ssh"+domain] = address
			}
		}
	}
	return out
}
