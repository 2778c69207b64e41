package replay_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/conformance/replay"
)

func TestParseBody(t *testing.T) {
	for _, row := range []struct{ name, body, want string }{
		{"OK plain", `{"a": 1}`, `{"a": 1}`},
		{"OK once", `b'{"a": "it\'s"}'`, `{"a": "it's"}`},
		{"OK twice", `b'b\'{"a": 1}\''`, `{"a": 1}`},
		{"OK thrice", `b'b\'b\\\'{"a": 1}\\\'\''`, `{"a": 1}`},
		{"OK newline and hex", `b'a\n\x41\\q'`, "a\nA\\q"},
		{"OK empty", ``, ``},
		{"ErrUnclosed", `b'{"a": 1}`, "error: does not end so"},
		{"ErrEscape", `b'\x4'`, "error: escape"},
	} {
		t.Run(row.name, func(t *testing.T) {

			b, err := json.Marshal(map[string]any{"interactions": []any{map[string]any{
				"request":  map[string]any{"method": "PUT", "uri": "https://management.azure.com/x", "body": row.body},
				"response": map[string]any{"status": map[string]any{"code": 200}, "body": map[string]any{"string": "{}"}, "headers": map[string]any{"etag": []string{"1"}}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := replay.Parse("x", b)
			if want, bad := strings.CutPrefix(row.want, "error: "); bad {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %v, want an error with %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := c.Exchanges[0]
			if e.Body != row.want || e.Answer.Header.Get("ETag") != "1" || e.Answer.Body != "{}" {
				t.Errorf("got %+v, want the body %q", e, row.want)
			}
		})
	}
}

// One exchange in each of the layouts.
func TestParseLayouts(t *testing.T) {
	const u = "https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/g?api-version=2018-05-01"
	for name, text := range map[string]string{
		"azure-cli JSON": `{"version":1,"interactions":[{"request":{"method":"PUT","uri":"` + u + `","body":"b'{\"location\": \"westus\"}'","headers":{"User-Agent":["az"]}},
			"response":{"status":{"code":201,"message":"Created"},"headers":{"etag":["1"]},"body":{"string":"{\"name\":\"g\"}"}}}]}`,
		"azure-cli YAML": "interactions:\n- request:\n    body: '{\"location\": \"westus\"}'\n    headers:\n      User-Agent:\n      - az\n    method: PUT\n    uri: " + u +
			"\n  response:\n    body:\n      string: '{\"name\":\"g\"}'\n    headers:\n      etag:\n      - '1'\n    status:\n      code: 201\n      message: Created\nversion: 1\n",
		"azure-sdk": `{"Entries":[{"RequestUri":"` + u + `","RequestMethod":"PUT","RequestHeaders":{"User-Agent":"az"},"RequestBody":{"location": "westus"},
			"StatusCode":201,"ResponseHeaders":{"ETag":"1"},"ResponseBody":{"name":"g"}}],"Variables":{}}`,
		"azure-sdk-for-net": `{"Entries":[{"RequestUri":"` + strings.TrimPrefix(u, "https://management.azure.com") + `","RequestMethod":"PUT","RequestHeaders":{"User-Agent":["az"]},
			"RequestBody":"{\"location\": \"westus\"}","ResponseHeaders":{"ETag":["1"]},"ResponseBody":"{\"name\":\"g\"}","StatusCode":201}],"Names":{},"Variables":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := replay.Parse("x", []byte(text))
			if err != nil || len(c.Exchanges) != 1 {
				t.Fatalf("%d exchanges, %v", len(c.Exchanges), err)
			}
			e := c.Exchanges[0]
			if e.Method != "PUT" || e.URL != u || e.Header.Get("User-Agent") != "az" || e.Body != `{"location": "westus"}` ||
				e.Answer.Status != 201 || e.Answer.Header.Get("ETag") != "1" || e.Answer.Body != `{"name":"g"}` {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestLoadReplaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	text := `{"Entries":[{"RequestUri":"/there/r1","RequestMethod":"GET","StatusCode":200,"ResponseBody":"r1 of there"}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := replay.Load(file, "there", "here", "r1", "r2")
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Exchanges[0]; e.URL != "https://management.azure.com/here/r2" || e.Answer.Body != "r2 of here" {
		t.Errorf("got %+v", e)
	}
	if _, err := replay.Run(t.Context(), replay.Config{Subscription: "s", Replace: []string{"there"}}, []string{file}); err == nil {
		t.Error("a text without another in its place was taken")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "interactions:",
		"neither":         "\tinteractions: {",
		"no object":       "[1]",
		"no interactions": `{"a": 1}`,
		"no URI":          `{"interactions":[{"request":{"method":"GET"},"response":{"status":{"code":200}}}]}`,
	} {
		if _, err := replay.Parse("x", []byte(text)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

// recordings are the files of real traffic, which are not part of the repository.
func recordings(t *testing.T) []string {
	t.Helper()
	root := os.Getenv("LAZULITE_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(root, "recordings", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no recordings: set LAZULITE_SHARED to the folder that has them")
	}
	return files
}

func TestRecordingsParse(t *testing.T) {
	for _, f := range recordings(t) {
		c, err := replay.Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, e := range c.Exchanges {
			if e.Body != "" && !json.Valid([]byte(e.Body)) && strings.Contains(e.URL, "management.azure.com") {
				t.Errorf("%s #%d: the body is no JSON after unwrapping: %.80s", filepath.Base(f), i+1, e.Body)
			}
		}
	}
}
