package guest

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// volumes are Docker's own, on the daemon's disk, under names of the machine.
func (c *call) volumes(name string) error {
	one := changing(func(v map[string]any) (any, error) {
		v["Name"] = c.shown(text(v, "Name"))
		return v, nil
	})
	switch method := c.r.Method; {
	case method == http.MethodGet && len(c.words) == 1:
		c.change = changing(func(all map[string]any) (any, error) {
			listed, _ := all["Volumes"].([]any)
			out := []any{}
			for _, l := range listed {
				if v, _ := l.(map[string]any); strings.HasPrefix(text(v, "Name"), c.cfg.Prefix) {
					v["Name"] = c.shown(text(v, "Name"))
					out = append(out, v)
				}
			}
			all["Volumes"] = out
			return all, nil
		})
		return c.pass()
	case method == http.MethodPost && name == "create":
		body, err := c.body()
		if err != nil {
			return err
		}
		if d := text(body, "Driver"); d != "" && d != "local" || !zero(body["DriverOpts"]) || !zero(body["ClusterVolumeSpec"]) {
			return refuse(http.StatusForbidden, "volume drivers and their options are not offered by the Docker of this machine, which is a container itself")
		}
		name := text(body, "Name")
		if name == "" {
			name = strings.ToLower(rand.Text() + rand.Text())
		}
		body["Name"] = c.cfg.Prefix + name
		labels, _ := body["Labels"].(map[string]any)
		if labels == nil {
			labels = map[string]any{}
		}
		c.mark(labels)
		body["Labels"] = labels
		if err := c.setBody(body); err != nil {
			return err
		}
		c.change = one
		return c.pass()
	case method == http.MethodPost && name == "prune":
		return c.filtered("label", c.owner())
	case len(c.words) == 2 && (method == http.MethodGet || method == http.MethodDelete):
		c.words[1] = c.cfg.Prefix + name
		if method == http.MethodGet {
			c.change = one
		}
		return c.pass()
	}
	return c.unknown()
}
