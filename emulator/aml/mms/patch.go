package mms

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// PatchOp is JsonPatchOperation of modelManagement.json, 2019-08-01.
type PatchOp struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`
}

// Patch applies a JSON patch (RFC 6902) to what of an Entry may change:
// description, kvTags and properties. It returns the changed copy, or an error and no change.
func (e Entry) Patch(ops []PatchOp) (Entry, error) {
	e.KvTags, e.Properties = e.KvTags.Clone(), e.Properties.Clone()
	for i, op := range ops {
		if err := e.apply(op); err != nil {
			err.Message = "Operation " + strconv.Itoa(i) + " of the patch: " + err.Message
			return e, err
		}
	}
	return e, nil
}

// BadPatch is the refusal of one operation; target is its member.
func BadPatch(target, format string, args ...any) *plane.Error {
	return Fault(http.StatusBadRequest, "InvalidPatchOperation", target, format, args...)
}

func (e *Entry) apply(op PatchOp) *plane.Error {
	verb := strings.ToLower(op.Op)
	if !slices.Contains([]string{"add", "replace", "remove", "test"}, verb) {
		return BadPatch("op", "the operation '%s' is not supported; it must be add, replace, remove or test.", op.Op)
	}
	if verb != "remove" && op.Value == nil {
		return BadPatch("value", "the operation '%s' needs a value.", op.Op)
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
	return BadPatch("path", "the path '%s' cannot be changed; it must be below /kvTags, /properties or /description.", op.Path)
}

func patchText(text **string, verb string, op PatchOp) *plane.Error {
	var v *string
	if verb != "remove" {
		if err := json.Unmarshal(op.Value, &v); err != nil {
			return BadPatch("value", "the value of '%s' must be a string.", op.Path)
		}
	}
	if verb == "test" {
		if (v == nil) != (*text == nil) || v != nil && *v != **text {
			return BadPatch("value", "the test of '%s' failed.", op.Path)
		}
		return nil
	}
	*text = v
	return nil
}

func patchMap(m *StringMap, verb, k string, deep bool, op PatchOp) *plane.Error {
	if !deep {
		var v StringMap
		if verb != "remove" {
			if err := json.Unmarshal(op.Value, &v); err != nil {
				return BadPatch("value", "the value of '%s' must be an object of strings.", op.Path)
			}
		}
		if verb == "test" {
			if len(v) != len(*m) || !matchPairs(*m, pairsOf(v)) {
				return BadPatch("value", "the test of '%s' failed.", op.Path)
			}
			return nil
		}
		*m = v.Clone()
		return nil
	}
	old, found := (*m)[k]
	if !found && verb != "add" {
		return BadPatch("path", "the target '%s' does not exist.", op.Path)
	}
	if verb == "remove" {
		delete(*m, k)
		return nil
	}
	var one StringMap
	wrapped := append(append([]byte(`{"v":`), op.Value...), '}')
	if err := json.Unmarshal(wrapped, &one); err != nil {
		return BadPatch("value", "the value of '%s' must be a string.", op.Path)
	}
	if verb == "test" {
		if one["v"] != old {
			return BadPatch("value", "the test of '%s' failed.", op.Path)
		}
		return nil
	}
	(*m)[k] = one["v"]
	return nil
}

func pairsOf(m StringMap) []pair {
	var out []pair
	for k, v := range m {
		out = append(out, pair{key: k, value: v})
	}
	return out
}
