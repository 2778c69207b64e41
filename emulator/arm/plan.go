package arm

import (
	"slices"
	"strings"
	"time"

	"encoding/json"
)

// planned is one resource of a deployment, and how far it is.
type planned struct {
	ID       ID     `json:"id"`
	Type     string `json:"type"`
	Name     string `json:"name"` // all segments
	Version  string `json:"version"`
	Location string `json:"location,omitempty"`
	// Path leads to the resource in the template: an index, and one more for each nesting.
	Path []int `json:"path"`
	// Loops are where the resource's copy loops, and those around it, are.
	Loops []loop `json:"loops,omitempty"`
	// DependsOn are folded ids.
	DependsOn []string `json:"dependsOn,omitempty"`
	// State is empty, Running, Succeeded, Failed or Skipped.
	State     string `json:"state,omitempty"`
	Operation string `json:"operation"`
	// Before is the etag that the resource had when its turn came; Asked says that the PUT was answered.
	Before string          `json:"before,omitempty"`
	Asked  bool            `json:"asked,omitempty"`
	Status int             `json:"status,omitempty"` // of the PUT
	Error  json.RawMessage `json:"error,omitempty"`
	Start  time.Time       `json:"start"`
	End    time.Time       `json:"end"`
}

// plan evaluates what says which resources there are, and in what order.
func (t *template) plan(s *scope) ([]*planned, error) {
	var out []*planned
	declared := map[string][]any{}
	copies := map[string][]*planned{} // by the loop's name, folded
	var walk func(list []any, parent *planned, path []int) error
	one := func(obj map[string]any, parent *planned, path []int) (*planned, error) {
		p, err := planOne(obj, s, parent, path)
		if err != nil {
			return nil, err
		}
		key := p.ID.Key()
		if _, twice := declared[key]; twice {
			return nil, errTemplate("The resource '%s' is defined multiple times in a template. Please see https://aka.ms/arm-template/#resources for usage details", p.ID)
		}
		deps, err := dependencies(obj, s, p)
		if err != nil {
			return nil, err
		}
		if parent != nil {
			deps = append(deps, parent.ID.String())
		}
		declared[key] = deps
		out = append(out, p)
		nested, _ := memberOf(obj, "resources")
		if nested == nil {
			return p, nil
		}
		children, ok := nested.([]any)
		if !ok {
			return nil, errTemplate("The member 'resources' of the template resource '%s' is no array", p.Name)
		}
		return p, walk(children, p, p.Path)
	}
	// round plans the copies of one resource.
	round := func(l copyLoop, obj map[string]any, parent *planned, path []int) error {
		if _, twice := copies[fold(l.name)]; twice && parent == nil {
			return errTemplate("The template has more than one copy loop of the name '%s'", l.name)
		}
		made := []*planned{}
		for n := range l.count {
			var p *planned
			if err := s.within([]loop{{l.name, n, true}}, func() (err error) {
				p, err = one(obj, parent, path)
				return err
			}); err != nil {
				return err
			}
			if l.batch > 0 && n >= l.batch {
				// A batch begins when the one before it is done.
				from := (n/l.batch - 1) * l.batch
				for _, before := range made[from : from+l.batch] {
					declared[p.ID.Key()] = append(declared[p.ID.Key()], before.ID.String())
				}
			}
			made = append(made, p)
		}
		copies[fold(l.name)] = append(copies[fold(l.name)], made...)
		return nil
	}
	walk = func(list []any, parent *planned, path []int) error {
		for i, raw := range list {
			obj, ok := raw.(map[string]any)
			if !ok {
				return errTemplate("The template resource at index '%d' is no object", i)
			}
			at := append(slices.Clone(path), i)
			declaration, _ := memberOf(obj, "copy")
			var l copyLoop
			if declaration != nil {
				var err error
				if l, err = readLoop(declaration, s, false); err != nil {
					return errTemplate("%s", capital(err))
				}
			}
			err := t.checkBody(at, s, l.name)
			switch {
			case err != nil:
			case declaration != nil:
				err = round(l, obj, parent, at)
			default:
				_, err = one(obj, parent, at)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(t.resources, nil, nil); err != nil {
		return nil, err
	}
	for _, p := range out {
		for _, d := range declared[p.ID.Key()] {
			name := d.(string)
			to := findPlanned(out, name)
			if made, isLoop := copies[fold(name)]; to == nil && isLoop {
				for _, c := range made {
					if key := c.ID.Key(); c != p && !slices.Contains(p.DependsOn, key) {
						p.DependsOn = append(p.DependsOn, key)
					}
				}
				continue
			}
			if to == nil {
				return nil, errTemplate("The resource '%s' is not defined in the template. Please see https://aka.ms/arm-template for usage details", name)
			}
			if key := to.ID.Key(); !slices.Contains(p.DependsOn, key) {
				p.DependsOn = append(p.DependsOn, key)
			}
		}
		t.implied(p, out, s)
	}
	return out, checkCycles(out)
}

func planOne(obj map[string]any, s *scope, parent *planned, path []int) (*planned, error) {
	field := func(name string, required bool) (string, error) {
		raw, _ := memberOf(obj, name)
		if raw == nil && !required {
			return "", nil
		}
		v, err := s.resolve(raw)
		if err != nil {
			return "", errTemplate("%s", capital(err))
		}
		text, ok := v.(string)
		if !ok || text == "" {
			return "", errTemplate("The template resource at index '%d' is not valid: the '%s' property is required and must be a string", path[0], name)
		}
		return text, nil
	}
	p := &planned{Path: path, Loops: slices.Clone(s.loops)}
	var err error
	for _, f := range []struct {
		to       *string
		name     string
		required bool
	}{{&p.Type, "type", true}, {&p.Name, "name", true}, {&p.Version, "apiVersion", true}, {&p.Location, "location", false}} {
		if *f.to, err = field(f.name, f.required); err != nil {
			return nil, err
		}
	}
	group, sub := s.groupName(), s.sub.ID
	otherGroup, err := field("resourceGroup", false)
	if err != nil {
		return nil, err
	}
	otherSub, err := field("subscriptionId", false)
	if err != nil {
		return nil, err
	}
	if otherSub != "" {
		sub = otherSub
	}
	switch {
	case otherGroup != "":
		group = otherGroup
	case otherSub != "" && fold(p.Type) == fold(resourcesNamespace+"/deployments"):
		// A nested deployment with a subscription and no group is one of the subscription.
		group = ""
	}
	if parent != nil && !strings.Contains(strings.SplitN(p.Type, "/", 2)[0], ".") {
		p.Type, p.Name = parent.Type+"/"+p.Type, parent.Name+"/"+p.Name
	}
	if strings.Count(p.Type, "/") != strings.Count(p.Name, "/")+1 {
		return nil, errTemplate("The template resource '%s' for type '%s' has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name. A root resource type must have segment length one greater than its resource name. Please see https://aka.ms/arm-template/#resources for usage details", p.Name, p.Type)
	}
	if p.ID, err = ParseID(place(sub, group, p.Type, p.Name).String()); err != nil {
		return nil, errTemplate("The template resource '%s' is not valid: %s", p.Name, err)
	}
	if raw, ok := memberOf(obj, "condition"); ok && raw != nil {
		v, err := s.resolve(raw)
		if err != nil {
			return nil, errTemplate("%s", capital(err))
		}
		yes, err := boolOf(v)
		if err != nil {
			return nil, errTemplate("The condition of the template resource '%s' is not valid: %s", p.Name, err)
		}
		if !yes {
			p.State = "Skipped"
		}
	}
	return p, nil
}

// place is the id of a resource in a group, or of the subscription if there is none.
func place(sub, group, resourceType, name string) ID {
	base := ID{"/subscriptions/" + sub}
	switch {
	case group != "":
		base = ID{base.s + "/resourceGroups/" + group}
	case fold(resourceType) == fold(TypeResourceGroup):
		return ID{base.s + "/resourceGroups/" + name}
	}
	return base.Child(resourceType, name)
}

func dependencies(obj map[string]any, s *scope, p *planned) ([]any, error) {
	raw, _ := memberOf(obj, "dependsOn")
	if raw == nil {
		return nil, nil
	}
	v, err := s.resolve(raw)
	if err != nil {
		return nil, errTemplate("%s", capital(err))
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errTemplate("The 'dependsOn' of the template resource '%s' is no array", p.Name)
	}
	for _, d := range list {
		if _, ok := d.(string); !ok {
			return nil, errTemplate("The 'dependsOn' of the template resource '%s' holds what is no string", p.Name)
		}
	}
	return list, nil
}

// findPlanned takes an id, "type/name" in either order of segments, or a bare name.
func findPlanned(all []*planned, name string) *planned {
	want := fold(strings.TrimSuffix(name, "/"))
	for _, p := range all {
		id := p.ID.Key()
		_, tail, _ := strings.Cut(id, "/providers/")
		if want == id || want == tail || want == fold(p.Type+"/"+p.Name) || want == fold(p.Name) {
			return p
		}
	}
	return nil
}

// implied adds a dependency for each reference to a resource of the same template.
func (t *template) implied(p *planned, all []*planned, s *scope) {
	was := s.loops
	s.loops = p.Loops
	defer func() { s.loops = was }()
	_ = visit(t.body(p.Path), func(c callNode) error {
		name := fold(c.name)
		if len(c.args) == 0 || name != "reference" && !strings.HasPrefix(name, "list") {
			return nil
		}
		// What can't be known yet names no resource of the template.
		v, err := c.args[0].eval(s)
		if err != nil {
			return nil
		}
		if text, ok := v.(string); ok {
			if to := findPlanned(all, text); to != nil && to != p && !slices.Contains(p.DependsOn, to.ID.Key()) {
				p.DependsOn = append(p.DependsOn, to.ID.Key())
			}
		}
		return nil
	})
}

// body is a resource of the template without the resources inside it.
func (t *template) body(path []int) map[string]any {
	list := t.resources
	var obj map[string]any
	for _, i := range path {
		obj = list[i].(map[string]any)
		nested, _ := memberOf(obj, "resources")
		list, _ = nested.([]any)
	}
	out := map[string]any{}
	for k, v := range obj {
		switch fold(k) {
		case "resources", "dependson", "condition", "apiversion", "type", "name", "comments", "copy", "scope", "resourcegroup", "subscriptionid", "metadata":
		default:
			out[k] = v
		}
	}
	return out
}

func checkCycles(all []*planned) error {
	done := map[string]int{}
	byKey := map[string]*planned{}
	for _, p := range all {
		byKey[p.ID.Key()] = p
	}
	var see func(p *planned) error
	see = func(p *planned) error {
		switch done[p.ID.Key()] {
		case 1:
			return errTemplate("Circular dependency detected on resource: '%s'. Please see https://aka.ms/arm-template/#resources for usage details", p.ID)
		case 2:
			return nil
		}
		done[p.ID.Key()] = 1
		for _, d := range p.DependsOn {
			if err := see(byKey[d]); err != nil {
				return err
			}
		}
		done[p.ID.Key()] = 2
		return nil
	}
	for _, p := range all {
		if err := see(p); err != nil {
			return err
		}
	}
	return nil
}
