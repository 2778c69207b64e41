package guest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// images are the daemon's.
func (c *call) images(first string) error {
	last := c.words[len(c.words)-1]
	switch method := c.r.Method; {
	case len(c.words) == 2 && (method == "GET" && slices.Contains([]string{"json", "search", "get"}, first) || method == "POST" && first == "load"):
		return c.pass()
	case len(c.words) == 2 && method == "POST" && first == "create":
		if c.r.URL.Query().Get("fromSrc") == "" {
			return c.pass() // a pull; its credentials are in a header
		}
		return c.naming(nameOf(c.r.URL.Query()))
	case len(c.words) == 2 && method == "POST" && first == "prune":
		return c.filtered("label", c.owner())
	case len(c.words) > 2 && (method == "GET" && slices.Contains([]string{"json", "history", "get"}, last) || method == "POST" && last == "push"):
		return c.pass()
	case len(c.words) > 2 && method == "POST" && last == "tag":
		return c.naming(nameOf(c.r.URL.Query()))
	case len(c.words) > 1 && method == "DELETE":
		name := strings.Join(c.words[1:], "/")
		if mine, found, err := c.built(name); err != nil {
			return err
		} else if found && !mine {
			return refuse(http.StatusConflict, "conflict: unable to remove %s (must be forced) - this machine did not build it, and others of its host may have it in use", name)
		}
		return c.pass()
	}
	return c.unknown()
}

// nameOf is the name that an image is to get.
func nameOf(q url.Values) string {
	name := q.Get("repo")
	if tag := q.Get("tag"); tag != "" && name != "" {
		name += ":" + tag
	}
	return name
}

// naming passes a call that gives an image a name, unless somebody else's has it.
func (c *call) naming(names ...string) error {
	for _, name := range names {
		if name == "" {
			continue
		}
		if mine, found, err := c.built(name); err != nil {
			return err
		} else if found && !mine {
			return refuse(http.StatusConflict, "conflict: the name %s is that of an image which this machine did not build, and others of its host may have it in use", name)
		}
	}
	return c.pass()
}

// built says whether the machine has built an image.
func (c *call) built(name string) (mine, found bool, err error) {
	var image struct {
		Config struct{ Labels map[string]string }
	}
	status, err := c.ask(c.r.Context(), "/images/"+(&url.URL{Path: name}).EscapedPath()+"/json", &image)
	if err != nil {
		return false, false, err
	}
	return image.Config.Labels[c.cfg.Owner[0]] == c.cfg.Owner[1], status == http.StatusOK, nil
}

// commit makes an image of a container. It must not bring the container's labels along.
func (c *call) commit() error {
	id, err := c.owned(c.r.Context(), c.r.URL.Query().Get("container"))
	if err != nil {
		return err
	}
	name := nameOf(c.r.URL.Query())
	c.query(func(q url.Values) {
		q.Set("container", id)
		for label := range c.cfg.Labels {
			q.Add("changes", "LABEL "+label+`=""`)
		}
		q.Add("changes", "LABEL "+c.cfg.Owner[0]+"="+quote(c.cfg.Owner[1]))
	})
	return c.naming(name)
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// build makes an image by the classic builder, its steps in the machine's network and within its limits.
func (c *call) build() error {
	q := c.r.URL.Query()
	if v := q.Get("version"); v != "" && v != "1" {
		return refuse(http.StatusBadRequest, "BuildKit is not offered by the Docker of this machine, which is a container itself: DOCKER_BUILDKIT=0 builds without it")
	}
	if q.Get("cgroupparent") != "" {
		return notOffered("CgroupParent")
	}
	switch mode := q.Get("networkmode"); mode {
	case "none":
	case "", "default", "bridge", "host":
		q.Set("networkmode", "container:"+c.cfg.Machine)
	default:
		return refuse(http.StatusNotFound, "network %s not found", mode)
	}
	labels := map[string]string{}
	if given := q.Get("labels"); given != "" {
		if err := json.Unmarshal([]byte(given), &labels); err != nil || labels == nil {
			return refuse(http.StatusBadRequest, "invalid labels: %v", err)
		}
	}
	labels[c.cfg.Owner[0]] = c.cfg.Owner[1]
	b, err := json.Marshal(labels)
	if err != nil {
		return err
	}
	q.Set("labels", string(b))
	limits := map[string]any{}
	for parameter, member := range map[string]string{"memory": "Memory", "memswap": "MemorySwap", "cpuquota": "CpuQuota", "cpuperiod": "CpuPeriod"} {
		if v := q.Get(parameter); v != "" {
			limits[member] = json.Number(v)
		}
	}
	if err := c.limitWhole(limits); err != nil {
		return err
	}
	for parameter, member := range map[string]string{"memory": "Memory", "memswap": "MemorySwap"} {
		if n, ok := limits[member].(json.Number); ok {
			q.Set(parameter, n.String())
		}
	}
	c.r.URL.RawQuery = q.Encode()
	return c.naming(q["t"]...)
}
