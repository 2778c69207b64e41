package history

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// Pages: what a client gets that names no $top, and the most that it gets.
const (
	pageSize       = 100
	metricPageSize = 1000
	maxPageSize    = 5000
)

// query is what a list is asked for, by query options or by QueryParams of the spec.
type query struct {
	filter, orderBy, token string
	// view of experiments: folded Default, All, ActiveOnly or ArchivedOnly.
	view string
	top  int // 0: not said
}

// readQuery takes the options from the URL, their names in any case. $sortorder
// is read by nobody (so says the spec) and $count changes nothing: the count is always there.
func readQuery(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, plane.BadRequest("query", "The query string is not validly escaped.")
	}
	var q query
	for name, v := range values {
		switch fold(name) {
		case "$filter":
			q.filter = v[0]
		case "viewtype":
			q.view = fold(v[0])
		case "$orderby":
			// msrest sends a list as one value, others repeat the option.
			q.orderBy = strings.Join(v, ",")
		case "$continuationtoken", "continuationtoken":
			q.token = v[0]
		case "$top":
			n, err := strconv.Atoi(v[0])
			if err != nil || n < 0 {
				return query{}, plane.BadRequest("$top", "The value of '$top' is not a number of items: '%s'.", cut(v[0]))
			}
			q.top = n
		}
	}
	return q, nil
}

// readQueryBody takes the same from the body of a POST to a ":query" path.
func readQueryBody(w http.ResponseWriter, r *http.Request) (query, error) {
	body, err := plane.ReadBody(w, r)
	if err != nil {
		return query{}, err
	}
	ms, err := object(body)
	if err != nil {
		return query{}, plane.BadRequest("body", "The request body is not valid JSON: %s.", err)
	}
	d := &reader{members: ms}
	var q query
	d.decode("filter", "string", &q.filter)
	d.decode("continuationToken", "string", &q.token)
	d.decode("orderBy", "string", &q.orderBy)
	d.decode("top", "number", &q.top)
	if view := d.text("viewType", maxName); view != nil {
		q.view = fold(*view)
	}
	if d.err == nil && q.top < 0 {
		d.err = plane.BadRequest("top", "The value of 'top' is not a number of items: %d.", q.top)
	}
	return q, d.err
}

// limit is the size of a page. A $top of zero says nothing: the SDK sends it with every list of runs.
func (q query) limit(normal int) int {
	switch {
	case q.top == 0:
		return normal
	case q.top > maxPageSize:
		return maxPageSize
	}
	return q.top
}

// order is one term of $orderby.
type order struct {
	name string // folded
	desc bool
}

func parseOrder(s string, f fields) ([]order, error) {
	var out []order
	for _, term := range strings.Split(s, ",") {
		words := strings.Fields(term)
		if len(words) == 0 {
			continue
		}
		o := order{name: fold(words[0])}
		k, known := f(o.name)
		if !known || k == openField || len(words) > 2 {
			return nil, badOrder(term)
		}
		if len(words) == 2 {
			switch fold(words[1]) {
			case "asc":
			case "desc":
				o.desc = true
			default:
				return nil, badOrder(term)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

func badOrder(term string) *plane.Error {
	return plane.BadRequest("$orderby", "The order '%s' is not valid: it is a field, or a field with asc or desc.", cut(strings.TrimSpace(term)))
}

// sortRows orders rows by terms; nulls are the least, as in OData.
func sortRows[R row](rows []R, by []order) {
	sort.SliceStable(rows, func(i, j int) bool {
		for _, o := range by {
			a, _ := rows[i].cell(o.name, "")
			b, _ := rows[j].cell(o.name, "")
			d := compareCells(a, b)
			if o.desc {
				d = -d
			}
			if d != 0 {
				return d < 0
			}
		}
		return false
	})
}

func compareCells(a, b cell) int {
	switch {
	case a.null || b.null:
		switch {
		case a.null == b.null:
			return 0
		case a.null:
			return -1
		}
		return 1
	case !a.date.IsZero() || !b.date.IsZero():
		return a.date.Compare(b.date)
	case a.num != b.num:
		return cmp.Compare(a.num, b.num)
	}
	return cmp.Compare(a.text, b.text)
}

// A continuation token is a letter for the kind of list and where it goes on.

func token(kind, where string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + where))
}

func (q query) where(kind string) (string, error) {
	if q.token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(q.token)
	if err != nil || !strings.HasPrefix(string(b), kind) {
		return "", plane.BadRequest("$continuationtoken", "The continuation token does not belong to this list.")
	}
	return string(b[len(kind):]), nil
}

// offset cuts a page out of a list that was sorted in memory.
func offset[T any](q query, all []T, limit int) (page []T, next string, err error) {
	where, err := q.where("o")
	if err != nil {
		return nil, "", err
	}
	from := 0
	if where != "" {
		if from, err = strconv.Atoi(where); err != nil || from < 0 {
			return nil, "", plane.BadRequest("$continuationtoken", "The continuation token does not belong to this list.")
		}
	}
	from = min(from, len(all))
	to := min(from+limit, len(all))
	if to < len(all) {
		next = token("o", strconv.Itoa(to))
	}
	return all[from:to], next, nil
}

// page writes a paged reply from values that are JSON already.
func page(w http.ResponseWriter, values [][]byte, next string) {
	size := 64 + len(next)
	for _, v := range values {
		size += len(v) + 1
	}
	b := append(make([]byte, 0, size), `{"value":[`...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	b = append(b, `],"continuationToken":`...)
	if next == "" {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendQuote(b, next)
	}
	b = append(b, `,"nextLink":null,"count":`...)
	b = strconv.AppendInt(b, int64(len(values)), 10)
	plane.WriteRaw(w, http.StatusOK, append(b, '}'))
}
