package dsvm

import (
	"encoding/json"
	"errors"
	"strings"

	"lazulite.dev/emulator/arm"
)

// object is a JSON object that keeps what we have no name for.
type object map[string]any

func parse(data json.RawMessage) (object, error) {
	o := object{}
	if len(data) == 0 || string(data) == "null" {
		return o, nil
	}
	return o, json.Unmarshal(data, &o)
}

// child is a member that is an object; made if it is absent or null.
func (o object) child(name string) object {
	c, ok := o[name].(map[string]any)
	if !ok {
		c = map[string]any{}
		o[name] = c
	}
	return c
}

// text is a member that is a string, else "".
func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// list holds the objects of a member that is an array.
func (o object) list(name string) []object {
	all, _ := o[name].([]any)
	var out []object
	for _, e := range all {
		if c, ok := e.(map[string]any); ok {
			out = append(out, c)
		}
	}
	return out
}

// fill sets a default where the client gave nothing or null, as the service does.
func (o object) fill(name string, value any) {
	if o[name] == nil {
		o[name] = value
	}
}

func (o object) encode() (json.RawMessage, error) { return json.Marshal(o) }

// read decodes properties into a struct; a member of a wrong type is the client's fault.
func read(data json.RawMessage, into any) error {
	if len(data) == 0 {
		return nil
	}
	err := json.Unmarshal(data, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return invalid(wrong.Field, "The value of parameter "+wrong.Field+" is invalid.")
	}
	return err
}

// Parts of a resource id, which arm has checked already.

func segments(id arm.ID) []string { return strings.Split(strings.Trim(id.String(), "/"), "/") }

func nameOf(id arm.ID) string {
	s := segments(id)
	return s[len(s)-1]
}

func subscriptionOf(id arm.ID) string {
	if s := segments(id); len(s) > 1 {
		return s[1]
	}
	return ""
}

// parentOf is the id of the resource that a child resource is in.
func parentOf(id arm.ID) (arm.ID, error) {
	s := segments(id)
	if len(s) < 3 {
		return arm.ID{}, errors.New("dsvm: no parent of " + id.String())
	}
	return arm.ParseID("/" + strings.Join(s[:len(s)-2], "/"))
}

// scopeOf is the resource group's id.
func scopeOf(id arm.ID) string {
	s := segments(id)
	return "/" + strings.Join(s[:min(4, len(s))], "/")
}

func subscriptionID(id arm.ID) (arm.ID, error) {
	return arm.ParseID("/subscriptions/" + subscriptionOf(id))
}

// isType says whether an id is of exactly this type, as "Microsoft.Network/networkInterfaces".
func isType(id, kind string) bool {
	s := strings.Split(strings.Trim(id, "/"), "/")
	if len(s) < 8 || len(s)%2 != 0 || !same(s[0], "subscriptions") || !same(s[2], "resourceGroups") || !same(s[4], "providers") {
		return false
	}
	got := s[5]
	for i := 6; i < len(s); i += 2 {
		got += "/" + s[i]
	}
	return same(got, kind)
}

func same(a, b string) bool { return strings.EqualFold(strings.Trim(a, "/"), strings.Trim(b, "/")) }
