package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Load returns NewConfig changed by the JSON file (none if file is empty) and
// then by the variables AMLC_* named in Config's env tags. Lists are separated
// by commas, times are written as 90s or 1h. An unknown field of the file is an error.
//
// It is the one place of this package that reads the environment.
func Load(file string) (Config, error) {
	c := NewConfig()
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return c, err
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil {
			return c, fmt.Errorf("%s: %w", file, err)
		}
	}
	return c, override(reflect.ValueOf(&c).Elem(), os.LookupEnv)
}

func override(v reflect.Value, lookup func(string) (string, bool)) error {
	for i := range v.NumField() {
		f := v.Field(i)
		name := v.Type().Field(i).Tag.Get("env")
		if name == "" {
			if f.Kind() == reflect.Struct {
				if err := override(f, lookup); err != nil {
					return err
				}
			}
			continue
		}
		s, ok := lookup(name)
		if !ok {
			continue
		}
		if err := set(f, s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func set(f reflect.Value, s string) error {
	switch p := f.Addr().Interface().(type) {
	case *string:
		*p = s
	case *[]string:
		*p = nil
		for _, w := range strings.Split(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				*p = append(*p, w)
			}
		}
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is not a time such as 90s", s)
		}
		*p = d
	default:
		return fmt.Errorf("a %s can't be set from the environment", f.Type())
	}
	return nil
}

// UnmarshalJSON reads times as "90s" or "1h".
func (b *Budget) UnmarshalJSON(data []byte) error {
	var doc struct {
		Time, Operation *string
		Cost            *float64
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return err
	}
	for _, f := range []struct {
		from *string
		to   *time.Duration
	}{{doc.Time, &b.Time}, {doc.Operation, &b.Operation}} {
		if f.from == nil {
			continue
		}
		d, err := time.ParseDuration(*f.from)
		if err != nil {
			return fmt.Errorf("budget: %w", err)
		}
		*f.to = d
	}
	if doc.Cost != nil {
		b.Cost = *doc.Cost
	}
	return nil
}
