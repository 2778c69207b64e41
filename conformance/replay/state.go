package replay

import (
	"sort"
	"strings"
)

// isState says whether a field holds a state word.
func isState(parent, key string) bool {
	k := strings.ToLower(key)
	return strings.HasSuffix(k, "state") || k == "status" || (k == "code" && strings.HasSuffix(strings.ToLower(parent), "statuses[]"))
}

// passing are the words of states that end by themselves.
var passing = map[string]bool{
	"accepted": true, "creating": true, "inprogress": true, "pending": true, "updating": true, "resizing": true, "queued": true,
	"waiting": true, "starting": true, "preparing": true, "provisioning": true, "registering": true, "deleting": true,
	"azurevmconfiguration": true, "applicationconfiguration": true,
}

// passes says whether the word at the path is one of a state that ends by itself.
func passes(at, word string) bool {
	w := strings.ToLower(word)
	return passing[w] || (w == "running" && strings.HasSuffix(strings.ToLower(at), "executionstate"))
}

// stateWords collects the words at each path.
func stateWords(doc any) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	collect(doc, "", out)
	return out
}

func collect(v any, at string, out map[string]map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for k, item := range x {
			if s, ok := item.(string); ok && s != "" && isState(at, k) {
				path := join(at, k)
				if out[path] == nil {
					out[path] = map[string]bool{}
				}
				out[path][s] = true
			}
			collect(item, join(at, label(k)), out)
		}
	case []any:
		for _, item := range x {
			collect(item, at+"[]", out)
		}
	}
}

// states compares the words of states. A GET that finds a later state than the
// recorded, passing one is no difference: the recording was made by a poll.
func (c *comparison) states(rec, live any) {
	answered := stateWords(live)
	for _, m := range missingStates(stateWords(rec), answered) {
		got := words(answered[m.at])
		if c.method == "GET" && passes(m.at, m.word) {
			c.note("state", m.at, m.word, got)
			continue
		}
		c.differ("state", m.at, m.word, got)
	}
}

type missing struct{ at, word string }

// missingStates lists what was recorded at paths that are answered, and with another word.
func missingStates(rec, live map[string]map[string]bool) []missing {
	var list []missing
	for at, ws := range rec {
		if live[at] == nil {
			continue
		}
		for w := range ws {
			if !live[at][w] {
				list = append(list, missing{at, w})
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].at+list[i].word < list[j].at+list[j].word })
	return list
}

func words(m map[string]bool) string {
	list := make([]string, 0, len(m))
	for w := range m {
		list = append(list, w)
	}
	sort.Strings(list)
	return orNone(strings.Join(list, ", "))
}

// unsettled says whether live may still come to the recorded states by waiting:
// one passes, or an instance view has not seen yet what the recorded one had, such as a container's state before its restart.
func unsettled(rec, live any) bool {
	answered, recorded := stateWords(live), stateWords(rec)
	for at := range recorded {
		if answered[at] == nil && strings.Contains(strings.ToLower(at), "instanceview.") {
			return true
		}
	}
	if len(missingStates(recorded, answered)) == 0 {
		return false
	}
	for at, ws := range answered {
		for w := range ws {
			if passes(at, w) {
				return true
			}
		}
	}
	return false
}
