package plane_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/clock"
)

const wsPath = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"

func newMux(t *testing.T) *plane.Mux {
	t.Helper()
	m := plane.NewMux(plane.Config{
		Clock: clock.NewManual(time.Date(2018, 10, 20, 10, 0, 0, 0, time.UTC)),
		Verify: func(_ context.Context, token string, _ ...string) (aad.Claims, error) {
			switch token {
			case "user":
				return aad.Claims{}, nil
			case "run":
				return aad.Claims{RunID: "r1", Workspace: "guid-w"}, nil
			case "other-run":
				return aad.Claims{RunID: "r1", Workspace: "guid-x"}, nil
			}
			return aad.Claims{}, &aad.Error{Code: "InvalidAuthenticationToken", Message: "The access token is invalid.", Challenge: "Bearer error=invalid_token"}
		},
		Find: func(_ context.Context, s plane.Scope) (plane.Workspace, error) {
			if !strings.EqualFold(s.Workspace, "w") {
				return plane.Workspace{}, plane.NotFound("Workspace '%s' was not found.", s.Workspace)
			}
			return plane.Workspace{Scope: s, GUID: "guid-w", Location: "eastus2"}, nil
		},
	}, nil)
	echo := func(name string) plane.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
			plane.WriteJSON(w, http.StatusOK, map[string]any{"route": name, "vars": c.Vars})
			return nil
		}
	}
	m.Handle("GET", "history/v1.0/{WS}/experiments/{experiment}/runs/{run}", echo("run"))
	m.Handle("GET", "history/v1.0/{WS}/experiments/{experiment}/runs/list", echo("literal"))
	m.Handle("GET", "artifact/v1.0/{WS}/artifacts/contentinfo/{origin}/{container}/{path...}", echo("artifact"))
	m.Handle("POST", "history/v1.0/{WS}/json", func(w http.ResponseWriter, r *http.Request, _ *plane.Call) error {
		var v struct{ N int }
		if err := plane.ReadJSON(w, r, &v); err != nil {
			return err
		}
		plane.WriteJSON(w, http.StatusOK, v)
		return nil
	})
	m.Handle("GET", "history/v1.0/{WS}/broken", func(http.ResponseWriter, *http.Request, *plane.Call) error {
		return io.ErrUnexpectedEOF
	})
	return m
}

func TestMux(t *testing.T) {
	for _, row := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string // in the body
	}{
		{"OK", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "user", "", 200, `"experiment":"E"`},
		{"literal wins", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/list", "user", "", 200, `"route":"literal"`},
		{"literals in any case", "GET", "/HISTORY/V1.0" + strings.ToUpper(wsPath) + "/EXPERIMENTS/E/RUNS/R", "user", "", 200, `"run":"R"`},
		{"rest keeps slashes", "GET", "/artifact/v1.0" + wsPath + "/artifacts/contentinfo/ExperimentRun/r/outputs/a%20b.txt", "user", "", 200, `"path":"outputs/a b.txt"`},
		{"escaped slash stays in its segment", "GET", "/artifact/v1.0" + wsPath + "/artifacts/contentinfo/ExperimentRun/r/outputs%2Fm.txt", "user", "", 200, `"path":"outputs/m.txt"`},
		{"run token of this workspace", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "run", "", 200, `"run":"R"`},
		{"ErrOtherWorkspace", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "other-run", "", 403, "AuthorizationFailed"},
		{"ErrNoToken", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "", "", 401, "AuthenticationFailed"},
		{"ErrForgedToken", "GET", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "forged", "", 401, "InvalidAuthenticationToken"},
		{"ErrWorkspace", "GET", "/history/v1.0" + strings.Replace(wsPath, "/w", "/x", 1)[:len(wsPath)-1] + "x/experiments/E/runs/R", "user", "", 404, "NotFound"},
		{"ErrRoute", "GET", "/history/v1.0" + wsPath + "/nothing", "user", "", 404, "NotFound"},
		{"ErrMethod", "DELETE", "/history/v1.0" + wsPath + "/experiments/E/runs/R", "user", "", 405, "MethodNotAllowed"},
		{"ErrBadJSON", "POST", "/history/v1.0" + wsPath + "/json", "user", "{", 400, "not valid JSON"},
		{"ErrEmptyBody", "POST", "/history/v1.0" + wsPath + "/json", "user", "", 400, "no body"},
		{"ErrWrongType", "POST", "/history/v1.0" + wsPath + "/json", "user", `{"N":"x"}`, 400, `"target":"N"`},
		{"ErrInternal hides its text", "GET", "/history/v1.0" + wsPath + "/broken", "user", "", 500, "ServiceError"},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := httptest.NewRequest(row.method, "https://eastus2.experiments.azureml.net"+row.path, strings.NewReader(row.body))
			if row.token != "" {
				req.Header.Set("Authorization", "Bearer "+row.token)
			}
			rec := httptest.NewRecorder()
			newMux(t).ServeHTTP(rec, req)
			if rec.Code != row.status || !strings.Contains(rec.Body.String(), row.want) {
				t.Fatalf("got %d %s, want %d with %s", rec.Code, rec.Body, row.status, row.want)
			}
			if strings.Contains(rec.Body.String(), "unexpected EOF") {
				t.Error("an internal error's text went out")
			}
			if row.status == 401 && rec.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 has no WWW-Authenticate")
			}
			if row.status >= 400 {
				var doc struct {
					Error struct{ Code, Message string }
				}
				if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.Error.Code == "" || doc.Error.Message == "" {
					t.Errorf("no error envelope: %s", rec.Body)
				}
			}
		})
	}
}
