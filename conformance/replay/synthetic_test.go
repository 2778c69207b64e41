package replay_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"lazulite.dev/conformance/replay"
)

// synthetic is a recording of one small life: a group, a thing made by a long-running operation, its end.
func synthetic(t *testing.T) (replay.Cassette, string) {
	t.Helper()
	const (
		arm   = "https://management.azure.com"
		group = arm + "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/g"
		thing = group + "/providers/P/things/x?api-version=1"
		other = group + "/providers/P/things/y?api-version=1"
		op    = arm + "/subscriptions/00000000-0000-0000-0000-000000000000/providers/P/operations/be866875-2dd9-4a78-83fc-db5a9697f779?api-version=1"
	)
	in := func(method, uri, body string, status int, answer string, headers map[string][]string) any {
		if headers == nil {
			headers = map[string][]string{}
		}
		if answer != "" {
			headers["content-type"] = []string{"application/json; charset=utf-8"}
		}
		return map[string]any{
			"request":  map[string]any{"method": method, "uri": uri, "body": body, "headers": map[string]any{"Content-Type": []string{"application/json"}}},
			"response": map[string]any{"status": map[string]any{"code": status, "message": "m"}, "body": map[string]string{"string": answer}, "headers": headers},
		}
	}
	b, err := json.Marshal(map[string]any{"version": 1, "interactions": []any{
		in("PUT", group+"?api-version=2018-05-01", `{"location":"eastus"}`, 201, `{"id":"/g"}`, nil),
		in("PUT", thing, `b'{"location":"eastus"}'`, 202, "", map[string][]string{"azure-asyncoperation": {op}}),
		in("GET", op, "", 200, `{"status":"InProgress"}`, nil),
		in("GET", op, "", 200, `{"status":"Succeeded"}`, nil),
		in("GET", thing, "", 200, `{"name":"x","properties":{"provisioningState":"Succeeded"}}`, nil),
		in("GET", other, "", 404, `{"error":{"code":"ThingNotFound","message":"m"}}`, nil),
		in("GET", "https://raw.example.org/aliases.json", "", 200, `{}`, nil),
		in("DELETE", group+"?api-version=2018-05-01", "", 202, "", nil),
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cassette.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := replay.Parse(file, b)
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}
