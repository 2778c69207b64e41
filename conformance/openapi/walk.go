package openapi

import (
	"fmt"
	"net/url"
	"path/filepath"
	"sort"
	"strings"

	"github.com/go-openapi/spec"
	"github.com/go-openapi/strfmt"
	"github.com/go-openapi/validate"
)

// schema is a schema and the file that its references are relative to.
type schema struct {
	*spec.Schema
	file string
}

// walk goes through a value and its schema side by side. References are
// resolved on the way, because Azure's documents refer to themselves in circles.
type walk struct {
	docs  *Documents
	found []Deviation
}

func (w *walk) tell(kind, at, format string, args ...any) {
	w.found = append(w.found, Deviation{Kind: kind, At: at, Text: fmt.Sprintf(format, args...)})
}

// resolve follows references to the schema that they mean.
func (w *walk) resolve(s schema) (schema, error) {
	for range 32 {
		ref := s.Ref.String()
		if ref == "" {
			return s, nil
		}
		u, err := url.Parse(ref)
		if err != nil {
			return s, err
		}
		if u.Path != "" {
			s.file = filepath.Join(filepath.Dir(s.file), filepath.FromSlash(u.Path))
		}
		doc, err := w.docs.file(s.file)
		if err != nil {
			return s, err
		}
		name := strings.TrimPrefix(u.Fragment, "/definitions/")
		def, ok := doc.Definitions[name]
		if !ok {
			return s, fmt.Errorf("%s has no definition %s", s.file, name)
		}
		s.Schema = &def
	}
	return s, fmt.Errorf("references in a circle at %s", s.Ref.String())
}

// parts are a schema and all that it is made of by allOf, and by the discriminator of the value.
func (w *walk) parts(s schema, value any) ([]schema, error) {
	s, err := w.resolve(s)
	if err != nil {
		return nil, err
	}
	list := []schema{s}
	for i := range s.AllOf {
		more, err := w.parts(schema{&s.AllOf[i], s.file}, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	object, _ := value.(map[string]any)
	for _, p := range list {
		if p.Discriminator == "" || object == nil {
			continue
		}
		word, _ := object[p.Discriminator].(string)
		sub, ok := w.subtype(p, word)
		if !ok {
			continue
		}
		more, err := w.parts(sub, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// subtype finds the definition that a discriminator's word means.
func (w *walk) subtype(base schema, word string) (schema, bool) {
	doc, err := w.docs.file(base.file)
	if err != nil || word == "" {
		return schema{}, false
	}
	for name, def := range doc.Definitions {
		value, _ := def.Extensions.GetString("x-ms-discriminator-value")
		if value == "" {
			value = name
		}
		if len(def.AllOf) > 0 && strings.EqualFold(value, word) {
			return schema{&def, base.file}, true
		}
	}
	return schema{}, false
}

func (w *walk) value(s schema, value any, at string) {
	if value == nil {
		return
	}
	parts, err := w.parts(s, value)
	if err != nil {
		w.tell(Shape, at, "the document is broken: %v", err)
		return
	}
	for _, p := range parts {
		w.plain(p, value, at)
	}
	switch v := value.(type) {
	case map[string]any:
		w.object(parts, v, at)
	case []any:
		for _, p := range parts {
			if p.Items == nil || p.Items.Schema == nil {
				continue
			}
			for _, item := range v {
				w.value(schema{p.Items.Schema, p.file}, item, at+"[]")
			}
		}
	}
}

// plain checks what a schema says of a value apart from what is inside.
func (w *walk) plain(s schema, value any, at string) {
	shallow := spec.Schema{SchemaProps: spec.SchemaProps{Type: s.Type}}
	if s.Format == "date-time" || s.Format == "uuid" {
		shallow.Format = s.Format
	}
	if modelled, ok := s.Extensions["x-ms-enum"].(map[string]any); !ok || modelled["modelAsString"] != true {
		shallow.Enum = s.Enum
	}
	if marked, _ := s.Extensions.GetBool("x-ms-secret"); marked && value != "" {
		w.tell(Secret, at, "it is a secret, and came back")
	}
	if object, ok := value.(map[string]any); ok {
		for _, name := range s.Required {
			if _, ok := object[name]; !ok {
				w.tell(Shape, join(at, name), "is required")
			}
		}
	}
	result := validate.NewSchemaValidator(&shallow, nil, "", strfmt.Default).Validate(value)
	for _, e := range result.Errors {
		w.tell(Shape, at, "%s", strings.TrimSpace(strings.ReplaceAll(e.Error(), " in body", "")))
	}
}

func (w *walk) object(parts []schema, object map[string]any, at string) {
	var open *schema
	free := false
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	sort.Strings(names)
	declared := map[string]schema{}
	for _, p := range parts {
		for name, prop := range p.Properties {
			declared[name] = schema{&prop, p.file}
		}
		if a := p.AdditionalProperties; a != nil {
			free = true
			if a.Schema != nil {
				open = &schema{a.Schema, p.file}
			}
		}
	}
	for _, name := range names {
		prop, ok := declared[name]
		switch {
		case ok:
			w.value(prop, object[name], join(at, name))
		case open != nil:
			w.value(*open, object[name], join(at, "*"))
		case !free && len(declared) > 0:
			w.tell(Undeclared, join(at, name), "is not in the document")
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
