package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"lazulite.dev/emulator"
)

// client speaks to one emulator, in process or over its port, as a user of its
// service principal. Its URLs are written with the shortcuts of expand.
type client struct {
	t     testing.TB
	http  http.RoundTripper
	id    emulator.Identity
	token string
}

// answer is one response, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get follows a dotted path through the JSON body; nil where there is nothing.
func (a answer) get(path string) any {
	var v any
	if json.Unmarshal(a.body, &v) != nil {
		return nil
	}
	for _, p := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (a answer) text(path string) string { s, _ := a.get(path).(string); return s }

func (a answer) String() string { return fmt.Sprintf("%d %.1500s", a.status, a.body) }

// versions are the api-versions of requests that name none.
var versions = []struct{ part, version string }{
	{"microsoft.machinelearningservices", "2018-03-01-preview"}, {"microsoft.storage", "2018-02-01"}, {"microsoft.compute", "2018-06-01"},
	{"microsoft.network", "2018-08-01"}, {"microsoft.keyvault", "2015-06-01"}, {"microsoft.insights", "2015-05-01"},
	{"microsoft.containerregistry", "2017-10-01"}, {"", "2018-05-01"},
}

const dataHost = "https://eastus2.experiments.azureml.net"

// expand fills in the shortcuts: {ARM} is the resource manager with the
// subscription, {G} a group in it, {P} its providers, {WS} the workspace in ARM,
// {history} and its like the data plane's services for that workspace. A path
// with ! at its end gets no api-version.
func (c *client) expand(u string) string {
	scope := "/subscriptions/" + c.id.Subscription + "/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/wsp"
	pairs := []string{"{ARM}", "https://management.azure.com/subscriptions/" + c.id.Subscription, "{SUB}", "/subscriptions/" + c.id.Subscription,
		"{G}", "https://management.azure.com/subscriptions/" + c.id.Subscription + "/resourceGroups/g",
		"{P}", "https://management.azure.com/subscriptions/" + c.id.Subscription + "/resourceGroups/g/providers",
		"{WS}", "https://management.azure.com" + scope,
		"{models}", "https://eastus2.modelmanagement.azureml.net/api" + scope}
	for _, service := range []string{"history", "execution", "artifact", "content", "datastore", "credential"} {
		pairs = append(pairs, "{"+service+"}", dataHost+"/"+service+"/v1.0"+scope)
	}
	u = strings.NewReplacer(pairs...).Replace(u)
	if bare, ok := strings.CutSuffix(u, "!"); ok {
		return bare
	}
	folded := strings.ToLower(u)
	if !strings.Contains(folded, "://management.azure.com") && !strings.Contains(folded, ".modelmanagement.") || strings.Contains(folded, "api-version=") {
		return u
	}
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
	}
	for _, v := range versions {
		if strings.Contains(folded, v.part) {
			return u + sep + "api-version=" + v.version
		}
	}
	return u
}

// try sends one request: body is nil, a string, bytes, or anything for JSON;
// header holds "Name: value", an Authorization among them replaces the client's own.
func (c *client) try(ctx context.Context, request string, body any, header ...string) (answer, error) {
	method, u, _ := strings.Cut(request, " ")
	var payload []byte
	switch b := body.(type) {
	case nil:
	case string:
		payload = []byte(b)
	case []byte:
		payload = b
	default:
		var err error
		if payload, err = json.Marshal(b); err != nil {
			return answer{}, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.expand(u), bytes.NewReader(payload))
	if err != nil {
		return answer{}, err
	}
	if !strings.Contains(u, ".core.windows.net") && c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(strings.TrimSuffix(name, ":"))
		} else {
			req.Header.Set(name, value)
		}
	}
	res, err := c.http.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{res.StatusCode, res.Header, b}, nil
}

// do is try where a failure of the transport is the test's.
func (c *client) do(request string, body any, header ...string) answer {
	c.t.Helper()
	a, err := c.try(context.Background(), request, body, header...)
	if err != nil {
		c.t.Fatalf("%s: %v", request, err)
	}
	return a
}

// must is do with a status that is given.
func (c *client) must(status int, request string, body any, header ...string) answer {
	c.t.Helper()
	a := c.do(request, body, header...)
	if a.status != status {
		c.t.Fatalf("%s: want %d, got %s", request, status, a)
	}
	return a
}

// login asks the authority for a token.
func (c *client) login(ctx context.Context) error {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id.ClientID}, "client_secret": {c.id.ClientSecret},
		"resource": {"https://management.core.windows.net/"}}.Encode()
	a, err := c.try(ctx, "POST https://login.microsoftonline.com/"+c.id.Tenant+"/oauth2/token", form, "Content-Type: application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	if c.token = a.text("access_token"); c.token == "" {
		return fmt.Errorf("no token: %s", a)
	}
	return nil
}

// part is one file of a multipart form, all of which the SDK names files.
type part struct {
	filename string
	content  []byte
	header   textproto.MIMEHeader
}

// form encodes parts; the second result is the Content-Type header.
func form(parts ...part) ([]byte, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="files"; filename=%q`, p.filename)}}
		for k, v := range p.header {
			h[k] = v
		}
		out, err := w.CreatePart(h)
		if err == nil {
			_, err = out.Write(p.content)
		}
		if err != nil {
			panic(err) // a bytes.Buffer takes all
		}
	}
	_ = w.Close()
	return b.Bytes(), "Content-Type: " + w.FormDataContentType()
}
