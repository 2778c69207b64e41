package arm

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// page is one list answer.
type page struct {
	Value    []json.RawMessage `json:"value"`
	NextLink string            `json:"nextLink,omitempty"`
}

// paging reads $top (or Batch AI's maxresults) and $skiptoken.
func (x *exchange) paging(prefix string) (size int, after string, err error) {
	size = x.e.cfg.PageSize
	for _, name := range []string{"$top", "maxresults"} {
		text := x.param(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return 0, "", Errorf(http.StatusBadRequest, "InvalidTopParameter", "The value '%s' of the query parameter '%s' is invalid: it must be a positive number.", text, name)
		}
		size = min(n, size)
	}
	if token := x.param("$skiptoken"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || !strings.HasPrefix(string(b), prefix) {
			return 0, "", Errorf(http.StatusBadRequest, "InvalidSkipToken", "The provided skip token '%s' is invalid.", token)
		}
		after = string(b)
	}
	return size, after, nil
}

func (x *exchange) nextLink(last string) string {
	q := url.Values{}
	for k, v := range x.query {
		q[k] = v[:min(1, len(v))]
	}
	if len(x.query) == 0 {
		q.Set("api-version", x.version)
	}
	for k := range q {
		if strings.EqualFold(k, "$skiptoken") {
			delete(q, k)
		}
	}
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(last)))
	// Clients cut the link apart themselves: "$" and "'" stay readable in it.
	return x.host() + x.r.URL.EscapedPath() + "?" + strings.ReplaceAll(q.Encode(), "%24", "$")
}

// listType answers a list of one type. With a parent the resources are its own; without, those at any depth.
func (x *exchange) listType(t *typeInfo, prefix, parent string) error {
	where, err := parseFilter(x.param("$filter"))
	if err != nil {
		return err
	}
	size, after, err := x.paging(prefix)
	if err != nil {
		return err
	}
	if t.NoPaging {
		size, after = 0, ""
	}
	x.listing = true
	// A subscription's list of deployments has its own alone, other lists what its groups have.
	subscriptionLevel := strings.Count(parent, "/") <= 2 && t.kind != kindDeployment
	return x.page(prefix, after, size, func(ent *entry) bool {
		return ent.typ == t && (subscriptionLevel || ent.parent == parent) && where.holds(ent.res)
	}, func(ent *entry) (json.RawMessage, error) {
		w, err := x.wire(ent)
		if err != nil {
			return nil, err
		}
		return w.body, nil
	})
}

// page collects up to size matches (0: all) and says where the next page begins.
func (x *exchange) page(prefix, after string, size int, want func(*entry) bool, render func(*entry) (json.RawMessage, error)) error {
	var found []*entry
	more := false
	x.e.index.scan(prefix, after, func(ent *entry) bool {
		if !want(ent) {
			return true
		}
		if size > 0 && len(found) == size {
			more = true
			return false
		}
		found = append(found, ent)
		return true
	})
	p := page{Value: make([]json.RawMessage, 0, len(found))}
	for _, ent := range found {
		b, err := render(ent)
		if err != nil {
			return err
		}
		p.Value = append(p.Value, b)
	}
	if more {
		p.NextLink = x.nextLink(found[len(found)-1].key)
	}
	x.send(http.StatusOK, p)
	return nil
}

// listResources answers /resources of a subscription or a group: the tracked ones, without their properties.
func (x *exchange) listResources(prefix string) error {
	where, err := parseFilter(x.param("$filter"))
	if err != nil {
		return err
	}
	size, after, err := x.paging(prefix)
	if err != nil {
		return err
	}
	return x.page(prefix, after, size, func(ent *entry) bool {
		return ent.typ.kind == kindPlain && ent.typ.Tracked && where.holds(ent.res)
	}, func(ent *entry) (json.RawMessage, error) {
		env := standard(ent.res, true)
		env.Type, env.ETag, env.Properties, env.Zones = ent.typ.Name, "", nil, nil
		return marshal(env)
	})
}
