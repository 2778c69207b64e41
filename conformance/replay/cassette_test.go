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

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "interactions:",
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
