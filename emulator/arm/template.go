package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// template is a deployment template, read but not evaluated.
type template struct {
	parameters map[string]parameter // by folded name
	names      []string             // of the parameters, as declared
	variables  map[string]any
	resources  []any
	outputs    map[string]any
}

type parameter struct {
	name, kind   string // kind is folded
	fallback     any
	hasDefault   bool
	allowed      []any
	minV, maxV   *int64
	minLen, most *int64
}

func (p parameter) secure() bool { return strings.HasPrefix(p.kind, "secure") }

// parameterKinds are the wire's words for the types.
var parameterKinds = map[string]string{"string": "String", "securestring": "SecureString", "int": "Int", "bool": "Bool", "object": "Object",
	"secureobject": "SecureObject", "array": "Array"}

func errKind(kind string) *Error {
	return errTemplate("The template parameter or output type '%s' is not supported", kind)
}

// parseTemplate checks the form of a template, and every expression's syntax and functions.
func parseTemplate(v any) (*template, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errTemplate("The template is no object")
	}
	t := &template{parameters: map[string]parameter{}, variables: map[string]any{}, outputs: map[string]any{}}
	for k := range m {
		switch fold(k) {
		case "$schema", "contentversion", "parameters", "variables", "resources", "outputs", "functions", "metadata", "apiprofile":
		default:
			return nil, errTemplate("Could not find member '%s' on object of type 'Template'. Path '%s'", k, k)
		}
	}
	for _, required := range []string{"$schema", "contentVersion", "resources"} {
		if v, ok := memberOf(m, required); !ok || v == nil {
			return nil, errTemplate("Required property '%s' not found in JSON. Path ''", required)
		}
	}
	if v, _ := memberOf(m, "functions"); v != nil {
		return nil, errTemplate("User-defined functions are not supported: the member 'functions' is refused")
	}
	if err := t.readParameters(m); err != nil {
		return nil, err
	}
	for name, to := range map[string]*map[string]any{"variables": &t.variables, "outputs": &t.outputs} {
		if v, _ := memberOf(m, name); v != nil {
			obj, ok := v.(map[string]any)
			if !ok {
				return nil, errTemplate("The template member '%s' is no object", name)
			}
			*to = obj
		}
	}
	v, _ = memberOf(m, "resources")
	if t.resources, ok = v.([]any); !ok {
		return nil, errTemplate("The template member 'resources' is no array")
	}
	return t, t.check()
}

// memberOf finds a member whatever its case.
func memberOf(m map[string]any, name string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}

func (t *template) readParameters(m map[string]any) error {
	v, _ := memberOf(m, "parameters")
	if v == nil {
		return nil
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return errTemplate("The template member 'parameters' is no object")
	}
	for _, name := range sortedKeys(obj) {
		def, ok := obj[name].(map[string]any)
		if !ok {
			return errTemplate("The definition of the template parameter '%s' is no object", name)
		}
		kind, _ := memberOf(def, "type")
		word, _ := kind.(string)
		p := parameter{name: name, kind: fold(word)}
		if parameterKinds[p.kind] == "" {
			return errKind(word)
		}
		p.fallback, p.hasDefault = memberOf(def, "defaultValue")
		if a, _ := memberOf(def, "allowedValues"); a != nil {
			if p.allowed, ok = a.([]any); !ok {
				return errTemplate("The 'allowedValues' of the template parameter '%s' are no array", name)
			}
		}
		for field, to := range map[string]**int64{"minValue": &p.minV, "maxValue": &p.maxV, "minLength": &p.minLen, "maxLength": &p.most} {
			if raw, there := memberOf(def, field); there {
				n, ok := plain(raw).(int64)
				if !ok {
					return errTemplate("The '%s' of the template parameter '%s' is no integer", field, name)
				}
				*to = &n
			}
		}
		t.parameters[fold(name)] = p
		t.names = append(t.names, name)
	}
	return nil
}

// check walks every expression: what can be known wrong before anything is deployed is refused now.
func (t *template) check() error {
	refuse := func(c callNode) error {
		name := fold(c.name)
		if _, ok := functionOf(name); !ok {
			return errFunction(c.name)
		}
		if len(c.args) != 1 || name != "parameters" && name != "variables" {
			return nil
		}
		if l, ok := c.args[0].(literal); ok {
			word, _ := l.value.(string)
			_, known := t.parameters[fold(word)]
			if name == "variables" {
				_, _, known = t.variable(word)
			}
			if !known {
				return fmt.Errorf("the template %s '%s' is not found. Please see https://aka.ms/arm-template/#%s for usage details", strings.TrimSuffix(name, "s"), word, name)
			}
		}
		return nil
	}
	for _, name := range t.names {
		if err := visit(t.parameters[fold(name)].fallback, refuse); err != nil {
			return errTemplate("%s", capital(err))
		}
	}
	for _, v := range []any{t.variables, t.resources, t.outputs} {
		if err := visit(v, refuse); err != nil {
			return errTemplate("%s", capital(err))
		}
	}
	if err := checkLoops(t.variables, nil, false); err != nil {
		return errTemplate("%s", capital(err))
	}
	return nil
}

// capital is an error's text as a sentence's beginning.
func capital(err error) string {
	s := err.Error()
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// bind takes the request's parameters, checks them against the declarations and adds the defaults.
func (t *template) bind(given any, s *scope) (map[string]any, error) {
	obj := map[string]any{}
	if given != nil {
		var ok bool
		if obj, ok = given.(map[string]any); !ok {
			return nil, errTemplate("The deployment parameters are no object")
		}
	}
	values := map[string]any{}
	s.parameters = values
	for _, name := range sortedKeys(obj) {
		p, ok := t.parameters[fold(name)]
		if !ok {
			return nil, errTemplate("The template parameters '%s' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are '%s'. Please see https://aka.ms/arm-deploy/#parameter-file for usage details", name, strings.Join(t.names, ", "))
		}
		holder, ok := obj[name].(map[string]any)
		if !ok {
			return nil, errTemplate("The value of the deployment parameter '%s' is not given as an object with a 'value'", name)
		}
		if ref, _ := memberOf(holder, "reference"); ref != nil {
			return nil, errTemplate("The deployment parameter '%s' refers to a key vault's secret, which is not supported", name)
		}
		v, there := memberOf(holder, "value")
		if !there || v == nil && p.hasDefault {
			continue
		}
		if v == nil {
			return nil, t.missing(p)
		}
		v = plain(v)
		if err := p.accept(v); err != nil {
			return nil, err
		}
		values[fold(name)] = v
	}
	for _, name := range t.names {
		p := t.parameters[fold(name)]
		if _, there := values[fold(name)]; there {
			continue
		}
		if !p.hasDefault {
			return nil, t.missing(p)
		}
		v, err := s.resolve(p.fallback)
		if err != nil {
			return nil, errTemplate("%s", capital(err))
		}
		if err := p.accept(v); err != nil {
			return nil, err
		}
		values[fold(name)] = v
	}
	return values, nil
}

func (t *template) missing(p parameter) *Error {
	return errTemplate("The value for the template parameter '%s' at line '1' and column '1' is not provided. Please see https://aka.ms/arm-deploy/#parameter-file for usage details", p.name)
}

// accept never repeats a secure value.
func (p parameter) accept(v any) error {
	expected, ok := "", true
	n := int64(-1)
	switch p.kind {
	case "string", "securestring":
		var s string
		s, ok = v.(string)
		expected, n = "String, Uri", int64(len([]rune(s)))
	case "int":
		_, ok = v.(int64)
		expected = "Integer"
	case "bool":
		_, ok = v.(bool)
		expected = "Boolean"
	case "array":
		var list []any
		list, ok = v.([]any)
		expected, n = "Array", int64(len(list))
	default:
		_, ok = v.(map[string]any)
		expected = "Object"
	}
	if !ok {
		return errTemplate("Template parameter JToken type is not valid. Expected '%s'. Actual '%s'. The parameter is '%s'. Please see https://aka.ms/arm-deploy/#parameter-file for usage details", expected, tokenKind(v), p.name)
	}
	if len(p.allowed) > 0 && !slices.ContainsFunc(p.allowed, func(a any) bool { return equalOf(a, v) }) {
		shown := "***"
		if !p.secure() {
			shown = fmt.Sprint(v)
		}
		words := make([]string, len(p.allowed))
		for i, a := range p.allowed {
			words[i] = fmt.Sprint(a)
		}
		return errTemplate("The provided value '%s' for the template parameter '%s' at line '1' and column '1' is not valid. The parameter value is not part of the allowed value(s): '%s'", shown, p.name, strings.Join(words, ","))
	}
	if i, isInt := v.(int64); isInt {
		if p.minV != nil && i < *p.minV || p.maxV != nil && i > *p.maxV {
			return errTemplate("The provided value for the template parameter '%s' at line '1' and column '1' is not valid: it is out of the range of 'minValue' and 'maxValue'", p.name)
		}
	}
	if n >= 0 && (p.minLen != nil && n < *p.minLen || p.most != nil && n > *p.most) {
		return errTemplate("The provided value for the template parameter '%s' at line '1' and column '1' is not valid. Length of the value is out of the range of 'minLength' and 'maxLength'", p.name)
	}
	return nil
}

func tokenKind(v any) string {
	switch v.(type) {
	case string:
		return "String"
	case int64:
		return "Integer"
	case float64, json.Number:
		return "Float"
	case bool:
		return "Boolean"
	case []any:
		return "Array"
	case nil:
		return "Null"
	}
	return "Object"
}

func parameterOf(s *scope, a []any) (any, error) {
	name, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	v, ok := s.parameters[fold(name)]
	if !ok {
		return nil, fmt.Errorf("the template parameter '%s' is not found", name)
	}
	return plain(v), nil
}

func variableOf(s *scope, a []any) (any, error) {
	name, err := textOf(a[0])
	if err != nil {
		return nil, err
	}
	raw, made, ok := s.template.variable(name)
	if !ok {
		return nil, fmt.Errorf("the template variable '%s' is not found", name)
	}
	if s.resolving[fold(name)] {
		return nil, fmt.Errorf("the template variable '%s' refers to itself", name)
	}
	s.resolving[fold(name)] = true
	defer delete(s.resolving, fold(name))
	// A variable is the same wherever it is used.
	was := s.loops
	s.loops = nil
	defer func() { s.loops = was }()
	if made != nil {
		l, err := readLoop(made, s, true)
		if err != nil {
			return nil, err
		}
		return l.values(s)
	}
	return s.resolve(raw)
}

// resourceIDOf is resourceId([subscription], [group], type, name, ...).
func resourceIDOf(s *scope, a []any) (any, error) {
	parts := make([]string, len(a))
	for i, v := range a {
		var err error
		if parts[i], err = stringOf(v); err != nil {
			return nil, err
		}
	}
	at := slices.IndexFunc(parts, func(p string) bool { return strings.Contains(p, "/") })
	if at < 0 || at > 2 {
		return nil, errors.New("the type of the resource must be given with its namespace")
	}
	sub, group := s.sub.ID, s.groupName()
	if at > 0 {
		group = parts[at-1]
	}
	if at > 1 {
		sub = parts[0]
	}
	types, names := strings.Split(parts[at], "/"), parts[at+1:]
	if len(types)-1 != len(names) {
		return nil, fmt.Errorf("the type '%s' needs '%d' name(s), not '%d'", parts[at], len(types)-1, len(names))
	}
	return place(sub, group, parts[at], strings.Join(names, "/")).String(), nil
}

// groupName is empty for a deployment of the subscription.
func (s *scope) groupName() string {
	if s.group == nil {
		return ""
	}
	return s.group.ID.ResourceGroup()
}

func groupOf(s *scope, _ []any) (any, error) {
	if s.group == nil {
		return nil, errors.New("the template function 'resourceGroup' is not valid in a deployment at the scope of the subscription")
	}
	tags := map[string]any{}
	for k, v := range s.group.Tags {
		tags[k] = v
	}
	return map[string]any{"id": s.group.ID.String(), "name": s.group.ID.Name(), "location": s.group.Location, "tags": tags,
		"properties": map[string]any{"provisioningState": s.group.State}}, nil
}

func subscriptionFunction(s *scope, _ []any) (any, error) {
	return map[string]any{"id": "/subscriptions/" + s.sub.ID, "subscriptionId": s.sub.ID, "tenantId": s.tenant, "displayName": s.sub.DisplayName}, nil
}

func deploymentOf(s *scope, _ []any) (any, error) { return map[string]any{"name": s.name}, nil }

func referenceOf(s *scope, a []any) (any, error) {
	words := make([]string, 3)
	for i, v := range a {
		var err error
		if words[i], err = textOf(v); err != nil {
			return nil, err
		}
	}
	if s.reference == nil {
		return nil, errors.New("the template function 'reference' is not expected at this location")
	}
	return s.reference(words[0], words[1], strings.EqualFold(words[2], "full"))
}

func listOf(action string, s *scope, a []any) (any, error) {
	name, err := textOf(a[0])
	version, err2 := textOf(a[1])
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if s.list == nil {
		return nil, fmt.Errorf("the template function '%s' is not expected at this location", action)
	}
	var body any
	if len(a) == 3 {
		body = a[2]
	}
	return s.list(action, name, version, body)
}

// escapePath is an id as a URL's path.
func escapePath(id string) string { return (&url.URL{Path: id}).EscapedPath() }
