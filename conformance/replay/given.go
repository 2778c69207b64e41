package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"lazulite.dev/conformance/wire"
)

const groupVersion = "2018-05-01"

const timeMark = "{time}"

var (
	groupURL   = lazily(`(?i)^(/subscriptions/[^/]+/resourcegroups/([^/]+))(/|$)`)
	timestamps = lazily(`(?i)\d{4}-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)[\d.]+`)
)

// pollKey is what two requests of one poll have in common: all but the times in their filters.
func pollKey(u string) string {
	return timestamps().ReplaceAllString(strings.ToLower(u), timeMark)
}

// groupPath returns the path of the resource group that an exchange is about, and nothing below it.
func groupPath(e Exchange) (string, bool) {
	u, err := url.Parse(e.URL)
	if err != nil || !isARM(u.Host) {
		return "", false
	}
	m := groupURL().FindStringSubmatch(u.Path)
	if m == nil || len(m[1]) != len(u.Path) {
		return "", false
	}
	return m[1], true
}

// prepare makes sure that no group of the recording exists, for a replay must
// not touch what is somebody's, and creates what the recording takes for
// granted: a group that it uses and never creates, and resources that it reads before anything made them.
func (p *player) prepare(ctx context.Context) error {
	created := map[string]bool{}
	var wanted []Exchange // first uses of groups that nothing creates
	names := map[string]string{}
	for _, e := range p.cassette.Exchanges {
		if path, ok := groupPath(e); ok && e.Method == http.MethodPut {
			created[strings.ToLower(path)] = true
		}
		u, err := url.Parse(e.URL)
		if err != nil || !isARM(u.Host) {
			continue
		}
		m := groupURL().FindStringSubmatch(u.Path)
		if m == nil || names[strings.ToLower(m[1])] != "" {
			continue
		}
		names[strings.ToLower(m[1])] = m[1]
		if !created[strings.ToLower(m[1])] {
			wanted = append(wanted, e)
		}
	}
	for _, path := range names {
		r, err := p.client.Do(ctx, wire.Request{Method: http.MethodGet, URL: p.local(path), Version: groupVersion})
		if err != nil {
			return err
		}
		if r.OK() {
			return fmt.Errorf("the resource group %s exists; a replay would change what is not its own", path[strings.LastIndex(path, "/")+1:])
		}
	}
	for _, e := range wanted {
		u, _ := url.Parse(e.URL)
		path := groupURL().FindStringSubmatch(u.Path)[1]
		if _, err := p.client.Create(ctx, p.local(path), groupVersion, p.groupBody(path)); err != nil {
			return err
		}
	}
	if len(wanted) > 0 {
		p.grant(ctx)
	}
	return nil
}

// groupBody is the group as it was read later on, or nothing but a location.
func (p *player) groupBody(path string) map[string]any {
	for _, e := range p.cassette.Exchanges {
		read, ok := groupPath(e)
		doc, isObject := decode(e.Answer.Body).(map[string]any)
		if ok && isObject && e.Method == http.MethodGet && e.Answer.Status == http.StatusOK && strings.EqualFold(read, path) {
			return map[string]any{"location": doc["location"], "tags": doc["tags"]}
		}
	}
	return map[string]any{"location": p.location()}
}

// location is the first that a recorded body names.
func (p *player) location() string {
	for _, e := range p.cassette.Exchanges {
		for _, body := range []string{e.Body, e.Answer.Body} {
			if m, ok := decode(body).(map[string]any); ok {
				if l, ok := m["location"].(string); ok && l != "" {
					return l
				}
			}
		}
	}
	return "eastus"
}

// provider is the namespace that a path goes into, in small letters.
func provider(path string) string {
	_, rest, _ := strings.Cut(strings.ToLower(path), "/providers/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// grant creates the resources that are read before the recording could have
// made them: before it makes any of their provider's, and before it deploys anything.
// One that the endpoint refuses shows as a difference where it is read.
func (p *player) grant(ctx context.Context) {
	made := map[string]bool{}
	for _, e := range p.cassette.Exchanges {
		u, err := url.Parse(e.URL)
		if err == nil && e.Method == http.MethodPut {
			made[provider(u.Path)] = true
		}
		if made["microsoft.resources"] {
			return
		}
		if err != nil || made[provider(u.Path)] || e.Method != http.MethodGet || e.Answer.Status != http.StatusOK {
			continue
		}
		var doc struct {
			ID, Location, Kind string
			SKU                json.RawMessage
		}
		if json.Unmarshal([]byte(e.Answer.Body), &doc) != nil || !strings.EqualFold(doc.ID, u.Path) || !strings.Contains(u.Path, "/providers/") {
			continue
		}
		body := map[string]any{"location": doc.Location, "properties": map[string]any{}}
		if doc.Kind != "" {
			body["kind"] = doc.Kind
		}
		if doc.SKU != nil {
			body["sku"] = doc.SKU
		}
		version := u.Query().Get("api-version")
		r, err := p.client.Create(ctx, p.local(u.Path), version, body)
		if err == nil {
			_, _ = p.client.Await(ctx, r)
		}
	}
}
