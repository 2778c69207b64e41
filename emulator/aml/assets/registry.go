package assets

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

// entry is what models and assets have in common: what lists filter and order by, and what a patch may change.
type entry struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Version     int64     `json:"version,omitempty"` // zero for an asset
	Description *string   `json:"description"`
	KvTags      stringMap `json:"kvTags"`
	Properties  stringMap `json:"properties"`
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

// listQuery is one list request.
type listQuery struct {
	name, runID      string
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

func matchPairs(m stringMap, pairs []pair) bool {
	for _, p := range pairs {
		if v, ok := m[p.key]; !ok || !p.any && v != p.value {
			return false
		}
	}
	return true
}

// queryValues reads a parameter whose name's case does not matter.
func queryValues(q url.Values, name string) []string {
	var out []string
	for k, v := range q {
		if strings.EqualFold(k, name) {
			out = append(out, v...)
		}
	}
	return out
}

func parseList(r *http.Request, c *plane.Call) (listQuery, error) {
	q := r.URL.Query()
	first := func(name string) string {
		if v := queryValues(q, name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	l := listQuery{name: first("name"), runID: first("runId"), count: defaultCount, url: r.URL, base: c.Base}
	bad := func(name, value, what string) error {
		return mmsFault(http.StatusBadRequest, "InvalidQueryParameter", name, "The value '%s' of '%s' is not %s.", value, name, what)
	}
	for _, name := range []string{"tag", "tags", "kvTags"} {
		l.tags = append(l.tags, parsePairs(queryValues(q, name))...)
	}
	l.properties = parsePairs(queryValues(q, "properties"))
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

func (l listQuery) matches(e entry) bool {
	return (l.name == "" || e.Name == l.name) &&
		(l.version == 0 || e.Version == l.version) &&
		(l.runID == "" || e.RunID != nil && *e.RunID == l.runID) &&
		matchPairs(e.KvTags, l.tags) && matchPairs(e.Properties, l.properties)
}

func (l listQuery) position(e entry) position {
	t := e.Created
	if l.byModified {
		t = e.Modified
	}
	return position{t, e.Name, e.Version, e.ID}
}

// mmsPage is a page of model management. A nextLink that is there makes the
// SDK go on, whatever its value: at the end there is none.
type mmsPage struct {
	Value    []any  `json:"value"`
	NextLink string `json:"nextLink,omitempty"`
}

// paginate filters, orders and cuts; wire gives the form of each.
func paginate[T any](l listQuery, all []T, entryOf func(T) entry, wire func(T) any) (mmsPage, error) {
	compare := func(a, b position) int {
		if l.desc {
			return b.compare(a)
		}
		return a.compare(b)
	}
	var kept []T
	for _, v := range all {
		e := entryOf(v)
		if l.matches(e) && (l.after == nil || compare(l.position(e), *l.after) > 0) {
			kept = append(kept, v)
		}
	}
	slices.SortFunc(kept, func(a, b T) int { return compare(l.position(entryOf(a)), l.position(entryOf(b))) })
	out := mmsPage{Value: []any{}}
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

// patchOp is JsonPatchOperation of modelManagement.json, 2019-08-01.
type patchOp struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`
}

// patch applies a JSON patch (RFC 6902) to what of an entry may change:
// description, kvTags and properties. It returns the changed copy, or an error and no change.
func (e entry) patch(ops []patchOp) (entry, error) {
	e.KvTags, e.Properties = e.KvTags.clone(), e.Properties.clone()
	for i, op := range ops {
		if err := e.apply(op); err != nil {
			err.Message = "Operation " + strconv.Itoa(i) + " of the patch: " + err.Message
			return e, err
		}
	}
	return e, nil
}

func badPatch(target, format string, args ...any) *plane.Error {
	return mmsFault(http.StatusBadRequest, "InvalidPatchOperation", target, format, args...)
}

func (e *entry) apply(op patchOp) *plane.Error {
	verb := strings.ToLower(op.Op)
	if !slices.Contains([]string{"add", "replace", "remove", "test"}, verb) {
		return badPatch("op", "the operation '%s' is not supported; it must be add, replace, remove or test.", op.Op)
	}
	if verb != "remove" && op.Value == nil {
		return badPatch("value", "the operation '%s' needs a value.", op.Op)
	}
	member, k, deep := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
	k = strings.NewReplacer("~1", "/", "~0", "~").Replace(k)
	if !strings.HasPrefix(op.Path, "/") {
		member = ""
	}
	switch {
	case strings.EqualFold(member, "description") && !deep:
		return patchText(&e.Description, verb, op)
	case strings.EqualFold(member, "kvTags"):
		return patchMap(&e.KvTags, verb, k, deep, op)
	case strings.EqualFold(member, "properties"):
		return patchMap(&e.Properties, verb, k, deep, op)
	}
	return badPatch("path", "the path '%s' cannot be changed; it must be below /kvTags, /properties or /description.", op.Path)
}

func patchText(text **string, verb string, op patchOp) *plane.Error {
	var v *string
	if verb != "remove" {
		if err := json.Unmarshal(op.Value, &v); err != nil {
			return badPatch("value", "the value of '%s' must be a string.", op.Path)
		}
	}
	if verb == "test" {
		if (v == nil) != (*text == nil) || v != nil && *v != **text {
			return badPatch("value", "the test of '%s' failed.", op.Path)
		}
		return nil
	}
	*text = v
	return nil
}

func patchMap(m *stringMap, verb, k string, deep bool, op patchOp) *plane.Error {
	if !deep {
		var v stringMap
		if verb != "remove" {
			if err := json.Unmarshal(op.Value, &v); err != nil {
				return badPatch("value", "the value of '%s' must be an object of strings.", op.Path)
			}
		}
		if verb == "test" {
			if len(v) != len(*m) || !matchPairs(*m, pairsOf(v)) {
				return badPatch("value", "the test of '%s' failed.", op.Path)
			}
			return nil
		}
		*m = v.clone()
		return nil
	}
	old, found := (*m)[k]
	if !found && verb != "add" {
		return badPatch("path", "the target '%s' does not exist.", op.Path)
	}
	if verb == "remove" {
		delete(*m, k)
		return nil
	}
	var one stringMap
	wrapped := append(append([]byte(`{"v":`), op.Value...), '}')
	if err := json.Unmarshal(wrapped, &one); err != nil {
		return badPatch("value", "the value of '%s' must be a string.", op.Path)
	}
	if verb == "test" {
		if one["v"] != old {
			return badPatch("value", "the test of '%s' failed.", op.Path)
		}
		return nil
	}
	(*m)[k] = one["v"]
	return nil
}

func pairsOf(m stringMap) []pair {
	var out []pair
	for k, v := range m {
		out = append(out, pair{key: k, value: v})
	}
	return out
}
