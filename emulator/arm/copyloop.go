package arm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxCopies is how often a loop of a template may go round.
const maxCopies = 800

// loop is where one copy loop is: copyIndex's answer, by the loop's name.
type loop struct {
	Name  string `json:"name"`
	Index int64  `json:"index"`
	// Resource loops are what copyIndex() without a name means.
	Resource bool `json:"resource,omitempty"`
}

// within evaluates inside of loops, the innermost last.
func (s *scope) within(loops []loop, do func() error) error {
	was := s.loops
	s.loops = append(slices.Clone(was), loops...)
	defer func() { s.loops = was }()
	return do()
}

// copyIndexOf is copyIndex([loop], [offset]); without a name it is the resource's loop, or the only one there is.
func copyIndexOf(s *scope, a []any) (any, error) {
	name, offset := "", int64(0)
	for i, v := range a {
		switch x := v.(type) {
		case string:
			if i > 0 {
				return nil, errors.New("the second argument of the template function 'copyIndex' must be an integer")
			}
			name = x
		case int64:
			offset = x
		default:
			return nil, errors.New("the arguments of the template function 'copyIndex' must be a loop's name and an integer")
		}
	}
	var found *loop
	for i := range s.loops {
		l := &s.loops[i]
		if name != "" && strings.EqualFold(l.Name, name) || name == "" && (l.Resource || found == nil || !found.Resource) {
			found = l
		}
	}
	if found == nil {
		return nil, errCopyIndex(name)
	}
	return found.Index + offset, nil
}

func errCopyIndex(name string) error {
	if name != "" {
		return fmt.Errorf("the template function 'copyIndex' names the loop '%s', which it is not in", name)
	}
	return errors.New("the template function 'copyIndex' is not expected at this location. The function can only be used in a resource with copy specified")
}

// copyLoop is a loop as it is declared.
type copyLoop struct {
	name  string
	count int64
	// batch is how many copies are deployed at once; 0: all.
	batch int64
	input any // of a loop inside of properties or variables
}

// readLoop evaluates a loop's declaration; input says that it must say what it repeats.
func readLoop(raw any, s *scope, input bool) (copyLoop, error) {
	obj, ok := raw.(map[string]any)
	if !ok {
		return copyLoop{}, errors.New("the template member 'copy' is no object")
	}
	var l copyLoop
	name, _ := memberOf(obj, "name")
	v, err := s.resolve(name)
	if err != nil {
		return l, err
	}
	if l.name, _ = v.(string); l.name == "" {
		return l, errors.New("the template copy definition has no 'name'")
	}
	number := func(member string, least int64, to *int64) error {
		raw, there := memberOf(obj, member)
		if !there && member != "count" {
			return nil
		}
		v, err := s.resolve(raw)
		if err != nil {
			return err
		}
		n, ok := v.(int64)
		if !ok || n < least || n > maxCopies {
			return fmt.Errorf("the '%s' of the template copy '%s' must be an integer from %d to %d", member, l.name, least, maxCopies)
		}
		*to = n
		return nil
	}
	if err := errors.Join(number("count", 0, &l.count), number("batchSize", 1, &l.batch)); err != nil {
		return l, err
	}
	mode, _ := memberOf(obj, "mode")
	switch word := fmt.Sprint(mode); {
	case mode == nil || strings.EqualFold(word, "parallel"):
		l.batch = 0
	case strings.EqualFold(word, "serial"):
		l.batch = max(l.batch, 1)
	default:
		return l, fmt.Errorf("the 'mode' of the template copy '%s' must be 'Parallel' or 'Serial'", l.name)
	}
	var there bool
	if l.input, there = memberOf(obj, "input"); input && !there {
		return l, fmt.Errorf("the template copy '%s' has no 'input'", l.name)
	}
	return l, nil
}

// values are what a loop with an input makes.
func (l copyLoop) values(s *scope) ([]any, error) {
	out := make([]any, l.count)
	for i := range out {
		if err := s.within([]loop{{Name: l.name, Index: int64(i)}}, func() (err error) {
			out[i], err = s.resolve(l.input)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// inputLoops are the loops that an object's "copy" declares for its own
// members: a list of objects that each have an input. Any other "copy" is a member like others.
func inputLoops(obj map[string]any) ([]any, bool) {
	raw, _ := memberOf(obj, "copy")
	list, ok := raw.([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	for _, el := range list {
		m, ok := el.(map[string]any)
		if !ok {
			return nil, false
		}
		if _, there := memberOf(m, "input"); !there {
			return nil, false
		}
	}
	return list, true
}

// addLoops evaluates an object's loops into its members.
func (s *scope) addLoops(list []any, out map[string]any) error {
	for _, raw := range list {
		l, err := readLoop(raw, s, true)
		if err != nil {
			return err
		}
		if out[l.name], err = l.values(s); err != nil {
			return err
		}
	}
	return nil
}

// variable finds a variable: its value, or the declaration of the loop that makes it.
func (t *template) variable(name string) (raw, made any, ok bool) {
	loops, _ := inputLoops(t.variables)
	for _, el := range loops {
		if nameIn(el) != "" && strings.EqualFold(nameIn(el), name) {
			return nil, el, true
		}
	}
	raw, ok = memberOf(t.variables, name)
	return raw, nil, ok
}

// checkLoops refuses a copyIndex that is in no loop, or not in the one that it names.
func checkLoops(v any, names []string, inLoop bool) error {
	switch t := v.(type) {
	case string:
		return visit(t, func(c callNode) error {
			if !strings.EqualFold(c.name, "copyIndex") {
				return nil
			}
			if len(c.args) > 0 {
				if l, ok := c.args[0].(literal); ok {
					if word, isName := l.value.(string); isName && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, word) }) {
						return errCopyIndex(word)
					}
				}
			}
			if !inLoop {
				return errCopyIndex("")
			}
			return nil
		})
	case []any:
		for _, el := range t {
			if err := checkLoops(el, names, inLoop); err != nil {
				return err
			}
		}
	case map[string]any:
		loops, has := inputLoops(t)
		for _, raw := range loops {
			m := raw.(map[string]any)
			input, _ := memberOf(m, "input")
			count, _ := memberOf(m, "count")
			if err := errors.Join(checkLoops(count, names, inLoop), checkLoops(input, append(slices.Clone(names), nameIn(raw)), true)); err != nil {
				return err
			}
		}
		for _, k := range sortedKeys(t) {
			if has && strings.EqualFold(k, "copy") {
				continue
			}
			if err := checkLoops(t[k], names, inLoop); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBody refuses a copyIndex of a loop that a resource is not in; name is that of its own, "" if it has none.
func (t *template) checkBody(path []int, s *scope, name string) error {
	names := []string{}
	for _, l := range s.loops {
		names = append(names, l.Name)
	}
	if name != "" {
		names = append(names, name)
	}
	if err := checkLoops(t.body(path), names, len(names) > 0); err != nil {
		return errTemplate("%s", capital(err))
	}
	return nil
}

// withName names an output's loop after the output.
func withName(declaration any, name string) any {
	obj, ok := declaration.(map[string]any)
	if !ok {
		return declaration
	}
	named := map[string]any{"name": name}
	for k, v := range obj {
		named[k] = v
	}
	return named
}
