package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// call is one request, on its way.
type call struct {
	*Guest
	w       http.ResponseWriter
	r       *http.Request
	version string   // "/v1.41", or empty
	words   []string // of the path after it
	// change makes the daemon's good answer the machine's; nil: it is passed on as it comes.
	change func(body []byte) ([]byte, error)
}

// ServeHTTP is Docker's API as the machine has it.
func (g *Guest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Guest: g, w: w, r: r}
	path := r.URL.Path
	c.words = strings.Split(strings.Trim(path, "/"), "/")
	if v := c.words[0]; len(v) > 1 && v[0] == 'v' && strings.Trim(v[1:], "0123456789.") == "" && len(c.words) > 1 {
		c.version, c.words = "/"+v, c.words[1:]
	}
	err := c.route()
	var no *refusal
	switch {
	case err == nil:
		return
	case errors.As(err, &no):
	case r.Context().Err() != nil:
		return // nobody waits
	default:
		no = &refusal{http.StatusBadGateway, "the Docker daemon of this machine does not answer: " + err.Error()}
		g.cfg.Logger.Warn("a machine's Docker", "path", path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": no.message})
}

func (c *call) route() error {
	for _, w := range c.words {
		if w == "" || w == "." || w == ".." {
			return refuse(http.StatusNotFound, "page not found")
		}
	}
	second := ""
	if len(c.words) > 1 {
		second = c.words[1]
	}
	switch method := c.r.Method; c.words[0] {
	case "_ping", "version":
		if method == http.MethodGet || method == http.MethodHead {
			return c.pass()
		}
	case "info":
		if method == http.MethodGet {
			return c.info()
		}
	case "auth":
		if method == http.MethodPost {
			return c.pass()
		}
	case "events":
		if method == http.MethodGet {
			return c.filtered("label", c.owner())
		}
	case "containers":
		return c.containers(second)
	case "exec":
		if len(c.words) == 3 {
			return c.exec(second, c.words[2])
		}
	case "commit":
		if method == http.MethodPost {
			return c.commit()
		}
	case "build":
		if method == http.MethodPost && second == "" {
			return c.build()
		}
	case "images":
		return c.images(second)
	case "distribution":
		if method == http.MethodGet {
			return c.pass()
		}
	case "volumes":
		return c.volumes(second)
	case "networks":
		return c.networks(second)
	case "swarm", "nodes", "services", "tasks", "secrets", "configs":
		return refuse(http.StatusServiceUnavailable, "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.")
	case "plugins":
		if method == http.MethodGet && len(c.words) == 3 {
			return refuse(http.StatusNotFound, "plugin %q not found", second)
		}
	case "session", "grpc":
		return refuse(http.StatusNotFound, "page not found") // clients take it for a daemon without BuildKit
	}
	return c.unknown()
}

func (c *call) unknown() error {
	return refuse(http.StatusForbidden, "%s /%s is not offered by the Docker of this machine, which is a container itself", c.r.Method, strings.Join(c.words, "/"))
}

func (c *call) owner() string { return c.cfg.Owner[0] + "=" + c.cfg.Owner[1] }

// pass sends the call to the daemon, under the path of its words.
func (c *call) pass() error {
	failed := error(nil)
	proxy := httputil.ReverseProxy{
		Transport: c.daemon, FlushInterval: -1, // logs and events come as they happen
		Rewrite: func(p *httputil.ProxyRequest) {
			path := c.version + "/" + strings.Join(c.words, "/")
			p.Out.URL = &url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: c.r.URL.RawQuery}
			p.Out.Host = "docker"
		},
		ModifyResponse: c.answer,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(c.w, c.r)
	return failed
}

// answer changes what the daemon says, where that is wanted; errors name what the machine named.
func (c *call) answer(r *http.Response) error {
	if r.Header.Get("Builder-Version") != "" {
		r.Header.Set("Builder-Version", "1")
	}
	if r.StatusCode < 300 && c.change == nil || r.StatusCode == http.StatusSwitchingProtocols || c.r.Method == http.MethodHead {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return err
	}
	if r.StatusCode < 300 {
		if body, err = c.change(body); err != nil {
			return err
		}
	} else {
		body = bytes.ReplaceAll(body, []byte(c.cfg.Prefix), nil)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// changing has the daemon's JSON answer changed.
func changing[T any](change func(T) (any, error)) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) {
		var v T
		if err := decode(bytes.NewReader(body), &v); err != nil {
			return nil, err
		}
		out, err := change(v)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// decode keeps numbers as they are written.
func decode(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.UseNumber()
	return d.Decode(v)
}

// How much JSON a request may hold.
const bodyLimit = 8 << 20

// body reads the request's JSON object; none is empty.
func (c *call) body() (map[string]any, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, bodyLimit))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "reading the request: %v", err)
	}
	out := map[string]any{}
	if len(bytes.TrimSpace(b)) == 0 {
		return out, nil
	}
	if err := decode(bytes.NewReader(b), &out); err != nil || out == nil {
		return nil, refuse(http.StatusBadRequest, "invalid JSON: %v", err)
	}
	all, err := canonical(out)
	if err != nil {
		return nil, err
	}
	return all.(map[string]any), nil
}

func (c *call) setBody(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.r.Body, c.r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	c.r.Header.Set("Content-Type", "application/json")
	c.r.Header.Set("Content-Length", strconv.Itoa(len(b)))
	c.r.TransferEncoding = nil
	return nil
}

func (c *call) query(change func(url.Values)) {
	q := c.r.URL.Query()
	change(q)
	c.r.URL.RawQuery = q.Encode()
}

// filtered passes a call whose filters have one more.
func (c *call) filtered(name, value string) error {
	filters := map[string]any{}
	if given := c.r.URL.Query().Get("filters"); given != "" {
		if err := json.Unmarshal([]byte(given), &filters); err != nil || filters == nil {
			return refuse(http.StatusBadRequest, "invalid filter: %v", err)
		}
	}
	switch had := filters[name].(type) {
	case []any: // as old clients write them
		filters[name] = append(had, value)
	case map[string]any:
		had[value] = true
	default:
		filters[name] = map[string]bool{value: true}
	}
	b, err := json.Marshal(filters)
	if err != nil {
		return err
	}
	c.query(func(q url.Values) { q.Set("filters", string(b)) })
	return c.pass()
}

// ask is a call of the filter's own. A status other than 200 is no error.
func (g *Guest) ask(ctx context.Context, path string, into any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return 0, err
	}
	a, err := g.daemon.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, a.Body)
		return a.StatusCode, nil
	}
	if err := decode(a.Body, into); err != nil {
		return 0, fmt.Errorf("guest: %s: %w", path, err)
	}
	return a.StatusCode, nil
}

// info is of the machine, as far as it is about more than Docker.
func (c *call) info() error {
	c.change = changing(func(info map[string]any) (any, error) {
		info["Name"] = c.cfg.Hostname
		if c.cfg.NanoCPUs > 0 {
			info["NCPU"] = (c.cfg.NanoCPUs + 999_999_999) / 1_000_000_000
		}
		if c.cfg.Memory > 0 {
			info["MemTotal"] = c.cfg.Memory
		}
		if runtimes, ok := info["Runtimes"].(map[string]any); ok {
			delete(runtimes, "nvidia")
			if len(c.cfg.GPUs) > 0 {
				runtimes["nvidia"] = map[string]any{"path": "nvidia-container-runtime"}
			}
		}
		return info, nil
	})
	return c.pass()
}

// networks are Docker's own three.
func (c *call) networks(name string) error {
	own := map[string]bool{"bridge": true, "host": true, "none": true}
	switch {
	case c.r.Method != http.MethodGet:
		return refuse(http.StatusForbidden, "networks are not offered by the Docker of this machine: all its containers share the machine's own")
	case name == "":
		c.change = changing(func(all []map[string]any) (any, error) {
			out := []any{}
			for _, n := range all {
				if s, _ := n["Name"].(string); own[s] {
					n["Containers"] = map[string]any{}
					out = append(out, n)
				}
			}
			return out, nil
		})
	case !own[name]:
		return refuse(http.StatusNotFound, "network %s not found", name)
	default:
		c.change = changing(func(n map[string]any) (any, error) {
			n["Containers"] = map[string]any{}
			return n, nil
		})
	}
	return c.pass()
}
