package assets

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

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

// patch takes out the operations on what models alone have, and returns the others.
func (l lineage) patch(ops []patchOp) ([]patchOp, lineage, error) {
	var rest []patchOp
	for _, op := range ops {
		var to any
		switch strings.ToLower(op.Path) {
		case "/sampleinputdata":
			to = &l.SampleInputData
		case "/sampleoutputdata":
			to = &l.SampleOutputData
		case "/resourcerequirements":
			to = &l.ResourceRequirements
		case "/datasets":
			to = &l.Datasets
		default:
			rest = append(rest, op)
			continue
		}
		if verb := strings.ToLower(op.Op); verb != "add" && verb != "replace" {
			return nil, l, badPatch("op", "the operation '%s' is not supported for '%s'; it must be add or replace.", op.Op, op.Path)
		}
		if err := json.Unmarshal(op.Value, to); err != nil {
			return nil, l, badPatch("value", "the value of '%s' does not fit.", op.Path)
		}
	}
	return rest, l, nil
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
