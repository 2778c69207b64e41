package mms

import (
	"encoding/json"
	"fmt"
)

// StringMap is a dictionary of strings. Numbers and booleans are taken as
// their text, as the service's decoder took them.
type StringMap map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *StringMap) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if raw == nil {
		*m = nil
		return nil
	}
	out := StringMap{}
	for k, v := range raw {
		text := string(v)
		switch {
		case text[0] == '"':
			if err := json.Unmarshal(v, &text); err != nil {
				return err
			}
		case text[0] == '{' || text[0] == '[' || text == "null":
			return fmt.Errorf("the value of '%s' is not a string", k)
		}
		out[k] = text
	}
	*m = out
	return nil
}

// Clone is a copy that is never nil.
func (m StringMap) Clone() StringMap {
	out := StringMap{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
