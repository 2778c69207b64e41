package aad_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/front"
	"lazulite.dev/emulator/store"
)

const subscription = "aaaaaaaa-0000-0000-0000-000000000001"

// realWorld is an authority and a grain of ARM behind a Front, for real clients.
type realWorld struct {
	t   *testing.T
	f   *front.Front
	dir string
	env []string
	bin string
}

// newRealWorld skips unless the environment variable names a Python environment.
func newRealWorld(t *testing.T, variable string) *realWorld {
	t.Helper()
	venv := os.Getenv(variable)
	if venv == "" {
		t.Skipf("%s names no Python environment", variable)
	}
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	a, err := aad.New(aad.Config{Store: st, Tenant: tenant, Clients: map[string]string{app: secret}, Users: []aad.User{{UPN: user, Password: "pw"}}})
	if err != nil {
		t.Fatal(err)
	}
	arm := grainOfARM(a)
	f, err := front.New(front.Config{Offline: true, Hosts: []front.Host{
		{Pattern: "management.azure.com", Handler: arm},
		{Pattern: "login.microsoftonline.com", Handler: a},
		{Pattern: "login.windows.net", Handler: a},
		{Pattern: "*", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/adfs/") || strings.HasPrefix(r.URL.Path, "/msi/") {
				a.ServeHTTP(w, r)
				return
			}
			arm.ServeHTTP(w, r)
		})},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := &realWorld{t: t, f: f, dir: t.TempDir(), bin: filepath.Join(venv, "bin")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.Close(ctx)
	})
	w.env = []string{
		"PATH=" + w.bin + ":" + os.Getenv("PATH"), "HOME=" + w.dir, "AZURE_CONFIG_DIR=" + w.dir, "AZURE_CORE_COLLECT_TELEMETRY=no",
		"REQUESTS_CA_BUNDLE=" + f.CAFile(), "NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost", "LC_ALL=C.UTF-8",
		"AZURE_CORE_NO_COLOR=true",
	}
	return w
}

func (w *realWorld) proxy() {
	w.env = append(w.env, "HTTPS_PROXY=http://"+w.f.Addr(), "https_proxy=http://"+w.f.Addr())
}

func (w *realWorld) run(name string, args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, name), args...)
	cmd.Env, cmd.Dir = w.env, w.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *realWorld) must(name string, args ...string) string {
	w.t.Helper()
	out, err := w.run(name, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// grainOfARM lists the tenant and the subscription to whoever has a token.
func grainOfARM(a *aad.Authority) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body any
		switch r.URL.Path {
		case "/metadata/endpoints":
			base := "https://" + r.Host
			body = map[string]any{"name": "Emu", "resourceManager": base, "graph": base + "/graph", "graphAudience": base + "/graph", "portal": base, "gallery": base,
				"authentication": map[string]any{"loginEndpoint": base + "/adfs", "audiences": []string{arm, "https://management.azure.com/"}, "tenant": "adfs", "identityProvider": "ADFS"},
				"suffixes":       map[string]string{"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"}}
		default:
			if _, err := a.VerifyRequest(r, aad.AudienceManagement, aad.AudienceARM); err != nil {
				e := err.(*aad.Error)
				w.Header().Set("WWW-Authenticate", e.Challenge)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}})
				return
			}
			switch r.URL.Path {
			case "/tenants":
				body = map[string]any{"value": []any{map[string]string{"id": "/tenants/" + tenant, "tenantId": tenant}}}
			case "/subscriptions":
				body = map[string]any{"value": []any{map[string]any{"id": "/subscriptions/" + subscription, "subscriptionId": subscription, "displayName": "Emulator",
					"state": "Enabled", "authorizationSource": "RoleBased", "tenantId": tenant}}}
			default:
				http.NotFound(w, r)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	})
}

// TestADAL2018: adal 1.2.0 and msrestazure, unmodified, through the proxy.
func TestADAL2018(t *testing.T) {
	w := newRealWorld(t, "LAZULITE_SDK2018")
	w.proxy()
	w.env = append(w.env, "MSI_ENDPOINT=http://"+w.f.Addr()+"/msi/token")
	for _, row := range []struct{ name, script, want string }{
		{"service principal", `
from msrestazure.azure_active_directory import ServicePrincipalCredentials
c = ServicePrincipalCredentials(client_id=APP, secret="S3cret", tenant=TENANT)
import requests
print(c.token["expires_in"], requests.get("https://management.azure.com/subscriptions", headers={"Authorization": "Bearer " + c.token["access_token"]}).json()["value"][0]["subscriptionId"])`,
			subscription},
		{"wrong secret", `
from msrestazure.azure_active_directory import ServicePrincipalCredentials
from msrest.exceptions import AuthenticationError
try:
    ServicePrincipalCredentials(client_id=APP, secret="wrong", tenant=TENANT)
except AuthenticationError as e:
    print(e)`, "AADSTS70002: Error validating credentials. AADSTS50012: Invalid client secret is provided."},
		{"device code and refresh", `
import adal
ctx = adal.AuthenticationContext("https://login.microsoftonline.com/common")
code = ctx.acquire_user_code(ARM, AZ)
print(code["message"])
t = ctx.acquire_token_with_device_code(ARM, code, AZ)
r = adal.AuthenticationContext("https://login.microsoftonline.com/" + TENANT).acquire_token_with_refresh_token(t["refreshToken"], AZ, "https://graph.windows.net/")
print(t["userId"], t["tenantId"], r["resource"])`, user + " " + tenant + " https://graph.windows.net/"},
		{"password", `
import adal
t = adal.AuthenticationContext("https://login.microsoftonline.com/common").acquire_token_with_username_password(ARM, USER, "pw", AZ)
print(t["userId"], 3590 < t["expiresIn"] <= 3600)`, user + " True"},
		{"expired refresh token", `
import adal
try:
    adal.AuthenticationContext("https://login.microsoftonline.com/" + TENANT).acquire_token_with_refresh_token("x", AZ, ARM)
except adal.AdalError as e:
    print(e.error_response["error"], e.error_response["error_description"])`, "invalid_grant AADSTS70008:"},
		{"managed identity", `
from msrestazure.azure_active_directory import MSIAuthentication
import jwt
c = MSIAuthentication()
c.signed_session()
print(c.scheme, jwt.decode(c.token["access_token"], verify=False)["aud"])`, "Bearer " + arm},
	} {
		t.Run(row.name, func(t *testing.T) {
			out := w.must("python", "-c", strings.NewReplacer("APP", `"`+app+`"`, "TENANT", `"`+tenant+`"`, "AZ)", `"`+azApp+`")`, "AZ,", `"`+azApp+`",`, "ARM", `"`+arm+`"`, "USER", `"`+user+`"`).Replace(row.script))
			if !strings.Contains(out, row.want) {
				t.Errorf("got %s\nwant %s", out, row.want)
			}
		})
	}
}

func (w *realWorld) az(args ...string) string {
	w.t.Helper()
	return w.must("python", append([]string{"-m", "azure.cli"}, args...)...)
}

// login logs in as the service principal, by a wrong secret first (later, today's az would ask its cache), and reads a token back.
func (w *realWorld) login() {
	w.t.Helper()
	out, err := w.run("python", "-m", "azure.cli", "login", "--service-principal", "-u", app, "-p", "wrong", "--tenant", tenant)
	if err == nil || !strings.Contains(out, "nvalid client secret") {
		w.t.Errorf("wrong secret: %v %s", err, out)
	}
	if out := w.az("login", "--service-principal", "-u", app, "-p", secret, "--tenant", tenant); !strings.Contains(out, subscription) {
		w.t.Errorf("login: %s", out)
	}
	if out := w.az("account", "get-access-token"); !strings.Contains(out, `"accessToken": "ey`) {
		w.t.Errorf("token: %s", out)
	}
}

func TestAz2018ByProxy(t *testing.T) {
	w := newRealWorld(t, "LAZULITE_AZ2018")
	w.proxy()
	w.login()
	w.az("logout")
	if out := w.az("login", "--use-device-code"); !strings.Contains(out, subscription) || !strings.Contains(out, user) || !strings.Contains(out, "nothing to do") {
		t.Errorf("device code: %s", out)
	}
	if out := w.az("account", "get-access-token", "--resource", "https://graph.windows.net/"); !strings.Contains(out, `"accessToken": "ey`) {
		t.Errorf("refresh: %s", out)
	}
}

func TestAz2018ByRegisteredCloud(t *testing.T) {
	w := newRealWorld(t, "LAZULITE_AZ2018")
	_, port, _ := strings.Cut(w.f.Addr(), ":")
	base := "https://localhost:" + port
	w.az("cloud", "register", "-n", "Emu", "--endpoint-resource-manager", base, "--endpoint-management", base, "--endpoint-active-directory", base+"/adfs",
		"--endpoint-active-directory-resource-id", arm, "--endpoint-active-directory-graph-resource-id", base+"/graph", "--suffix-storage-endpoint", "core.windows.net")
	w.az("cloud", "set", "-n", "Emu")
	w.login()
}

func TestAzTodayByProxy(t *testing.T) {
	w := newRealWorld(t, "LAZULITE_AZNEW")
	w.proxy()
	w.login()
	w.az("logout")
	if out := w.az("login", "--use-device-code", "--tenant", tenant); !strings.Contains(out, subscription) || !strings.Contains(out, user) {
		t.Errorf("device code: %s", out)
	}
}

func TestAzTodayByRegisteredCloud(t *testing.T) {
	w := newRealWorld(t, "LAZULITE_AZNEW")
	_, port, _ := strings.Cut(w.f.Addr(), ":")
	w.env = append(w.env, "AZURE_CORE_INSTANCE_DISCOVERY=false")
	w.az("cloud", "register", "-n", "Emu", "--endpoint-resource-manager", "https://localhost:"+port)
	w.az("cloud", "set", "-n", "Emu")
	w.login()
}
