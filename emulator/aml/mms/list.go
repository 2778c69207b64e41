package mms

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// Page sizes of model management's lists.
const (
	defaultCount = 100
	maxCount     = 1000
)

// Entry is what all registered things have in common: what lists filter and order by, and what a patch may change.
type Entry struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Version     int64     `json:"version,omitempty"` // zero for what has none
	Description *string   `json:"description"`
	KvTags      StringMap `json:"kvTags"`
	Properties  StringMap `json:"properties"`
	RunID       *string   `json:"runId,omitempty"`
	Created     time.Time `json:"created"`
	Modified    time.Time `json:"modified"`
}

// position orders a list; it is also the skip token's content.
type position struct {
	Time    time.Time `json:"t"`
	Name    string    `json:"n"`
	Version int64     `json:"v"`
	ID      string    `json:"i"`
}

func (p position) compare(o position) int {
	return cmp.Or(p.Time.Compare(o.Time), cmp.Compare(p.Name, o.Name), cmp.Compare(p.Version, o.Version), cmp.Compare(p.ID, o.ID))
}

// ListQuery is one list request; ParseList makes it.
type ListQuery struct {
	Name, runID      string
	version          int64
	tags, properties []pair
	count            int
	desc, byModified bool
	after            *position
	url              *url.URL
	base             string
}

// pair is one "key=value" of a filter, or a "key" that must be there.
type pair struct {
	key, value string
	any        bool
}

func parsePairs(values []string) []pair {
	var out []pair
	for _, v := range values {
		for _, p := range strings.Split(v, ",") {
			if p == "" {
				continue
			}
			k, val, ok := strings.Cut(p, "=")
			out = append(out, pair{k, val, !ok})
		}
	}
	return out
}

func matchPairs(m StringMap, pairs []pair) bool {
	for _, p := range pairs {
		if v, ok := m[p.key]; !ok || !p.any && v != p.value {
			return false
		}
	}
	return true
}

// QueryValues reads a parameter whose name's case does not matter.
func QueryValues(q url.Values, name string) []string {
	var out []string
	for k, v := range q {
		if strings.EqualFold(k, name) {
			out = append(out, v...)
		}
	}
	return out
}

// ParseList reads a list's parameters, and refuses what they cannot be.
func ParseList(r *http.Request, c *plane.Call) (ListQuery, error) {
	q := r.URL.Query()
	first := func(name string) string {
		if v := QueryValues(q, name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	l := ListQuery{Name: first("name"), runID: first("runId"), count: defaultCount, url: r.URL, base: c.Base}
	bad := func(name, value, what string) error {
		return Fault(http.StatusBadRequest, "InvalidQueryParameter", name, "The value '%s' of '%s' is not %s.", value, name, what)
	}
	for _, name := range []string{"tag", "tags", "kvTags"} {
		l.tags = append(l.tags, parsePairs(QueryValues(q, name))...)
	}
	l.properties = parsePairs(QueryValues(q, "properties"))
	var err error
	if v := first("version"); v != "" {
		if l.version, err = strconv.ParseInt(v, 10, 64); err != nil || l.version < 1 {
			return l, bad("version", v, "a version: it must be a positive number")
		}
	}
	if v := first("count"); v != "" {
		if l.count, err = strconv.Atoi(v); err != nil || l.count < 1 || l.count > maxCount {
			return l, bad("count", v, "a number from 1 to "+strconv.Itoa(maxCount))
		}
	}
	switch order := first("orderBy"); strings.ToLower(order) {
	case "", "createdatdesc":
		l.desc = true
	case "createdatasc":
	case "updatedatdesc":
		l.desc, l.byModified = true, true
	case "updatedatasc":
		l.byModified = true
	default:
		return l, bad("orderBy", order, "one of CreatedAtDesc, CreatedAtAsc, UpdatedAtDesc and UpdatedAtAsc")
	}
	if v := first("$skipToken"); v != "" {
		b, err := base64.RawURLEncoding.DecodeString(v)
		if err == nil {
			err = json.Unmarshal(b, &l.after)
		}
		if err != nil || l.after == nil {
			return l, bad("$skipToken", v, "a token of this list")
		}
	}
	return l, nil
}

// Matches reports whether the list would show e.
func (l ListQuery) Matches(e Entry) bool {
	return (l.Name == "" || e.Name == l.Name) &&
		(l.version == 0 || e.Version == l.version) &&
		(l.runID == "" || e.RunID != nil && *e.RunID == l.runID) &&
		matchPairs(e.KvTags, l.tags) && matchPairs(e.Properties, l.properties)
}

func (l ListQuery) position(e Entry) position {
	t := e.Created
	if l.byModified {
		t = e.Modified
	}
	return position{t, e.Name, e.Version, e.ID}
}

// Page is a page of model management. A nextLink that is there makes the
// SDK go on, whatever its value: at the end there is none.
type Page struct {
	Value    []any  `json:"value"`
	NextLink string `json:"nextLink,omitempty"`
}

// Paginate filters, orders and cuts; wire gives the form of each.
func Paginate[T any](l ListQuery, all []T, entryOf func(T) Entry, wire func(T) any) (Page, error) {
	compare := func(a, b position) int {
		if l.desc {
			return b.compare(a)
		}
		return a.compare(b)
	}
	var kept []T
	for _, v := range all {
		e := entryOf(v)
		if l.Matches(e) && (l.after == nil || compare(l.position(e), *l.after) > 0) {
			kept = append(kept, v)
		}
	}
	slices.SortFunc(kept, func(a, b T) int { return compare(l.position(entryOf(a)), l.position(entryOf(b))) })
	out := Page{Value: []any{}}
	for i, v := range kept {
		if i == l.count {
			b, err := json.Marshal(l.position(entryOf(kept[i-1])))
			if err != nil {
				return out, err
			}
			q := l.url.Query()
			for k := range q {
				if strings.EqualFold(k, "$skipToken") {
					q.Del(k)
				}
			}
			q.Set("$skipToken", base64.RawURLEncoding.EncodeToString(b))
			out.NextLink = l.base + l.url.EscapedPath() + "?" + q.Encode()
			break
		}
		out.Value = append(out.Value, wire(v))
	}
	return out, nil
}
