package guest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// What can be done to a container, by method.
var containerCalls = map[string]string{
	"json": "GET", "top": "GET", "logs": "GET", "changes": "GET", "export": "GET", "stats": "GET", "archive": "GET HEAD PUT",
	"resize": "POST", "start": "POST", "stop": "POST", "restart": "POST", "kill": "POST", "update": "POST", "rename": "POST",
	"pause": "POST", "unpause": "POST", "attach": "POST", "wait": "POST", "exec": "POST",
}

func (c *call) containers(ref string) error {
	if len(c.words) == 2 {
		switch c.r.Method + " " + ref {
		case "GET json":
			c.change = changing(func(all []map[string]any) (any, error) {
				for _, one := range all {
					names, _ := one["Names"].([]any)
					for i, n := range names {
						if s, ok := n.(string); ok {
							names[i] = c.shown(s)
						}
					}
				}
				return all, nil
			})
			return c.filtered("label", c.owner())
		case "POST create":
			return c.create()
		case "POST prune":
			return c.filtered("label", c.owner())
		}
		if c.r.Method != http.MethodDelete {
			return c.unknown()
		}
	}
	op := ""
	if len(c.words) == 3 {
		op = c.words[2]
		if !strings.Contains(containerCalls[op], c.r.Method) {
			return c.unknown()
		}
	} else if len(c.words) != 2 {
		return c.unknown()
	}
	id, err := c.owned(c.r.Context(), ref)
	if err != nil {
		return err
	}
	c.words[1] = id
	switch op {
	case "json":
		c.change = changing(func(one map[string]any) (any, error) {
			if s, ok := one["Name"].(string); ok {
				one["Name"] = c.shown(s)
			}
			return one, nil
		})
	case "rename":
		c.query(func(q url.Values) { q.Set("name", c.cfg.Prefix+q.Get("name")) })
	case "start":
		// Of old, it came with a HostConfig.
		c.r.Body, c.r.ContentLength = http.NoBody, 0
		fallthrough
	case "restart":
		if err := c.Check(c.r.Context(), id); err != nil {
			return err
		}
	case "exec":
		return c.makeExec()
	case "update":
		return c.update()
	}
	return c.pass()
}

// shown is a container's name as its machine gave it.
func (g *Guest) shown(name string) string {
	bare, slash := strings.CutPrefix(name, "/")
	bare = strings.TrimPrefix(bare, g.cfg.Prefix)
	if slash {
		return "/" + bare
	}
	return bare
}

// owned is the id of a container of the machine, by what its user calls it.
func (g *Guest) owned(ctx context.Context, ref string) (string, error) {
	for _, name := range []string{g.cfg.Prefix + strings.TrimPrefix(ref, "/"), ref} {
		var found struct {
			ID     string `json:"Id"`
			Config struct{ Labels map[string]string }
		}
		status, err := g.ask(ctx, "/containers/"+url.PathEscape(name)+"/json", &found)
		if err != nil {
			return "", err
		}
		if status == http.StatusOK && found.Config.Labels[g.cfg.Owner[0]] == g.cfg.Owner[1] {
			return found.ID, nil
		}
	}
	return "", refuse(http.StatusNotFound, "No such container: %s", ref)
}

// makeExec makes a command in a container, which c.words name.
func (c *call) makeExec() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	if on, _ := body["Privileged"].(bool); on {
		return refuse(http.StatusForbidden, "privileged commands are not offered by the Docker of this machine, which is a container itself")
	}
	if err := c.setBody(body); err != nil {
		return err
	}
	return c.pass()
}

func (c *call) exec(id, op string) error {
	if (op == "start" || op == "resize") != (c.r.Method == http.MethodPost) || op == "json" != (c.r.Method == http.MethodGet) {
		return c.unknown()
	}
	var found struct{ ContainerID string }
	status, err := c.ask(c.r.Context(), "/exec/"+url.PathEscape(id)+"/json", &found)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		if _, err = c.owned(c.r.Context(), found.ContainerID); err == nil {
			return c.pass()
		}
	}
	return refuse(http.StatusNotFound, "No such exec instance: %s", id)
}

// update changes limits, within the machine's.
func (c *call) update() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	if err := c.limit(body); err != nil {
		return err
	}
	for key, value := range body {
		if !harmless[key] && !zero(value) {
			return notOffered(key)
		}
	}
	if err := c.setBody(body); err != nil {
		return err
	}
	return c.pass()
}
