package batchai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"lazulite.dev/emulator/arm"
)

// decode reads properties with their numbers as they were written.
func decode(properties json.RawMessage) (map[string]any, error) {
	out := map[string]any{}
	if len(properties) == 0 {
		return out, nil
	}
	d := json.NewDecoder(bytes.NewReader(properties))
	d.UseNumber()
	return out, d.Decode(&out)
}

func encode(v any, to *json.RawMessage) (err error) {
	*to, err = json.Marshal(v)
	return err
}

// convert brings a document into a struct.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("batchai: %w", err)
	}
	return nil
}

// child is the object of a name, made if it isn't there.
func child(m map[string]any, name string) map[string]any {
	c, ok := m[name].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[name] = c
	}
	return c
}

// secret names members that Batch AI never reports back, wherever they are.
func secret(name string) bool {
	switch name {
	case "adminUserPassword", "accountKey", "password", "instrumentationKey":
		return true
	}
	return false
}

// conceal takes secrets out of properties: passwords and keys, and the values of secret variables.
func conceal(v any) {
	switch t := v.(type) {
	case map[string]any:
		for name, value := range t {
			if secret(name) {
				delete(t, name)
				continue
			}
			if all, ok := value.([]any); ok && name == "secrets" {
				for _, one := range all {
					if m, ok := one.(map[string]any); ok {
						delete(m, "value")
					}
				}
			}
			conceal(value)
		}
	case []any:
		for _, el := range t {
			conceal(el)
		}
	}
}

// keep refuses a PUT or PATCH that changes what a resource was made with, but
// for the mutable properties. What an api-version does not have stays as it was, and so does Private.
func (f *Fake) keep(kind, version string, old, next *arm.Resource, properties map[string]any, mutable ...string) error {
	before, err := decode(old.Properties)
	if err != nil {
		return err
	}
	shown, err := decode(old.Properties)
	if err != nil {
		return err
	}
	f.fit(kind, version, shown)
	conceal(properties)
	sent := maps.Clone(properties)
	for _, name := range mutable {
		before[name] = sent[name]
		delete(shown, name)
		delete(sent, name)
	}
	for _, name := range made() {
		delete(shown, name)
		delete(sent, name)
	}
	if !reflect.DeepEqual(shown, sent) {
		return exists(kind, old.ID.Name())
	}
	return encode(before, &next.Properties)
}

// made are properties that the service fills in when a resource comes into being.
func made() []string { return []string{"toolType", "experimentName", "jobOutputDirectoryPathSegment"} }

// envelope is a resource on the wire: its own properties and what the api-version knows of them.
func (f *Fake) envelope(kind string, c arm.Call, r *arm.Resource, properties map[string]any) (any, error) {
	doc, err := arm.Envelope(r)
	if err != nil {
		return nil, err
	}
	had, _ := doc["properties"].(map[string]any)
	properties["provisioningState"] = had["provisioningState"]
	f.fit(kind, c.Version, properties)
	doc["properties"] = properties
	delete(doc, "etag")
	if !strings.Contains(r.ID.Type(), "/workspaces") && doc["tags"] == nil {
		doc["tags"] = map[string]any{}
	}
	return doc, nil
}

// timed are a resource's properties with the times that all of them show.
func timed(r *arm.Resource, reached string) (map[string]any, error) {
	properties, err := decode(r.Properties)
	if err != nil {
		return nil, err
	}
	properties["creationTime"] = stamp(r.Created)
	properties["provisioningStateTransitionTime"] = transition(r, reached)
	return properties, nil
}

// transition is when the provisioning state was reached: at the last change while it is on its way.
func transition(r *arm.Resource, reached string) string {
	if reached == "" || r.Deleting {
		return stamp(r.Modified)
	}
	return reached
}
