package replay

import (
	"sort"
	"strings"
)

const zeroGUID = "00000000-0000-0000-0000-000000000000"

var inSubscription = lazily(`(?i)/subscriptions/([^/?]+)`)

// learned maps recorded values that a service generated to the endpoint's.
type learned struct {
	values   map[string]string
	replacer *strings.Replacer
}

// newLearned begins with the subscriptions of the recording, all of which are ours.
func newLearned(c Cassette, subscription string) *learned {
	l := &learned{values: map[string]string{}}
	for _, e := range c.Exchanges {
		// Something shorter than a GUID can't be replaced wherever it occurs.
		if m := inSubscription().FindStringSubmatch(e.URL); m != nil && guid().MatchString(m[1]) {
			l.values[m[1]] = subscription
		}
	}
	return l
}

// apply puts the endpoint's values in the place of the recorded ones.
func (l *learned) apply(s string) string {
	if l.replacer == nil {
		olds := make([]string, 0, len(l.values))
		for k := range l.values {
			olds = append(olds, k)
		}
		// Longer ones first: one may begin like another.
		sort.Slice(olds, func(i, j int) bool {
			if len(olds[i]) != len(olds[j]) {
				return len(olds[i]) > len(olds[j])
			}
			return olds[i] < olds[j]
		})
		pairs := make([]string, 0, 2*len(olds))
		for _, o := range olds {
			pairs = append(pairs, o, l.values[o])
		}
		l.replacer = strings.NewReplacer(pairs...)
	}
	return l.replacer.Replace(s)
}

// from learns from a recorded answer and the endpoint's to the same request.
func (l *learned) from(rec, live Answer) { l.walk("", decode(rec.Body), decode(live.Body)) }

func (l *learned) walk(key string, rec, live any) {
	switch r := rec.(type) {
	case map[string]any:
		if m, ok := live.(map[string]any); ok {
			for k, v := range r {
				l.walk(k, v, m[k])
			}
		}
	case []any:
		if list, ok := live.([]any); ok {
			for i := range min(len(r), len(list)) {
				l.walk(key, r[i], list[i])
			}
		}
	case string:
		s, ok := live.(string)
		if !ok || s == r || s == "" || l.values[r] != "" || r == zeroGUID {
			return
		}
		id := len(r) == 36 && guid().MatchString(r) && len(s) == 36 && guid().MatchString(s)
		secret := len(r) >= 16 && (key == "value" || strings.HasSuffix(strings.ToLower(key), "key")) && !strings.Contains(r, "/providers/")
		if id || secret {
			l.values[r] = s
			l.replacer = nil
		}
	}
}
