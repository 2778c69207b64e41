package arm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lazulite.dev/emulator/arm"
)

func TestSchema(t *testing.T) {
	schema, err := arm.ParseSchema([]byte(`{"type":"object","closed":true,"required":["name"],"properties":{
		"name":{"type":"string","minLength":2,"maxLength":4,"pattern":"[a-z]+"},
		"count":{"type":"integer","minimum":0,"default":3},
		"ratio":{"type":"number","maximum":1},
		"on":{"type":"boolean"},
		"made":{"type":"string","readOnly":true},
		"rows":{"type":"array","maxLength":2,"items":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"kind":{"type":"string","enum":["One","Two"]}}}},
		"env":{"type":"object","values":{"type":"string"}},
		"free":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *arm.Config) {
		c.Providers = append(c.Providers, arm.Provider{Namespace: "A.B", Registered: true, Types: []arm.Type{{Name: "A.B/c", Schema: schema}}})
	})
	r.group()
	put := func(properties string) answer {
		return r.do("PUT {G}/providers/A.B/c/x", `{"properties":`+properties+`}`)
	}
	for _, tt := range []struct{ in, want string }{
		{`{"NAME":"ab"}`, `{"provisioningState":"Succeeded","count":3,"name":"ab"}`},
		{`{"name":"ab","count":9007199254740993,"made":"x","on":"TRUE","ratio":"0.5"}`, `{"provisioningState":"Succeeded","count":9007199254740993,"name":"ab","on":true,"ratio":0.5}`},
		{`{"name":"ab","count":null,"rows":[{"id":"7","Kind":"TWO","more":[1.10]}],"env":{"Ab":1},"free":{"x":[null]}}`,
			`{"provisioningState":"Succeeded","count":3,"env":{"Ab":"1"},"free":{"x":[null]},"name":"ab","rows":[{"id":7,"kind":"Two","more":[1.10]}]}`},
	} {
		a := put(tt.in)
		var doc struct{ Properties json.RawMessage }
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || string(doc.Properties) != tt.want {
			t.Errorf("%s\n%s\n%s", tt.in, a.body, tt.want)
		}
	}
	for _, tt := range []struct{ in, target, message string }{
		{`{}`, "properties.name", "Required parameter 'properties.name' is missing (null)."},
		{`{"name":null}`, "properties.name", "Required parameter"},
		{`{"name":"a"}`, "properties.name", "at least 2 characters"},
		{`{"name":"abcde"}`, "properties.name", "at most 4 characters"},
		{`{"name":"AB"}`, "properties.name", "does not match the pattern '[a-z]+'"},
		{`{"name":["x"]}`, "properties.name", "Error converting value"},
		{`{"name":"ab","count":-1}`, "properties.count", "out of range, the minimum is 0"},
		{`{"name":"ab","count":1.5}`, "properties.count", "to type 'integer'"},
		{`{"name":"ab","ratio":2}`, "properties.ratio", "the maximum is 1"},
		{`{"name":"ab","ratio":"NaN"}`, "properties.ratio", "to type 'number'"},
		{`{"name":"ab","on":"maybe"}`, "properties.on", "Error converting value \"maybe\" to type 'boolean'"},
		{`{"name":"ab","rows":{}}`, "properties.rows", "to type 'array'"},
		{`{"name":"ab","rows":[{"id":1},{"id":1},{"id":1}]}`, "properties.rows", "at most 2 items"},
		{`{"name":"ab","rows":[{"id":1},{}]}`, "properties.rows[1].id", "Required parameter 'properties.rows[1].id'"},
		{`{"name":"ab","rows":[null]}`, "properties.rows[0]", "missing"},
		{`{"name":"ab","rows":[{"id":1,"kind":"Three"}]}`, "properties.rows[0].kind", "Allowed values are: One, Two."},
		{`{"name":"ab","env":{"a":{}}}`, "properties.env.a", "to type 'string'"},
		{`{"name":"ab","nmae":1}`, "properties.nmae", "Could not find member 'nmae'"},
	} {
		if a := put(tt.in); a.status != 400 || a.get("error.target") != tt.target || !strings.Contains(a.get("error.message").(string), tt.message) {
			t.Errorf("%s: %d %s", tt.in, a.status, a.body)
		}
	}
	for _, bad := range []string{`{"type":"x"}`, `{"pattern":"("}`, `{"unknown":1}`, `{"items":{"type":"y"}}`, `[`} {
		if _, err := arm.ParseSchema([]byte(bad)); err == nil {
			t.Errorf("ParseSchema(%s) took it", bad)
		}
	}
}
