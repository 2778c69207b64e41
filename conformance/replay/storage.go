package replay

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/conformance/wire"
)

const storageSuffix = ".core.windows.net"

// storageAccount is the account that a recorded URL of the storage service is
// of, or "". Which service it is, blob or file, makes no difference to its signature.
func storageAccount(u *url.URL) string {
	if !strings.HasSuffix(strings.ToLower(u.Hostname()), storageSuffix) {
		return ""
	}
	account, _, _ := strings.Cut(u.Hostname(), ".")
	return strings.ToLower(account)
}

// keep remembers the keys that the endpoint gave for an account, with which
// requests to it are signed anew: signatures were not recorded.
func (p *player) keep(e Exchange, got Answer) {
	u, err := url.Parse(e.URL)
	if err != nil || e.Method != http.MethodPost || !strings.HasSuffix(strings.ToLower(u.Path), "/listkeys") {
		return
	}
	var list struct{ Keys []struct{ Value string } }
	if json.Unmarshal([]byte(got.Body), &list) != nil || len(list.Keys) == 0 {
		return
	}
	segments := strings.Split(u.Path, "/")
	p.keys[strings.ToLower(segments[len(segments)-2])] = list.Keys[0].Value
}

// unsigned says why a request to storage can't be played, or "".
func (p *player) unsigned(u *url.URL) string {
	switch {
	case u.Query().Get("sig") != "":
		return "a storage request with a signature of that day"
	case p.keys[storageAccount(u)] == "":
		return "a storage request to an account whose keys were not asked for before"
	}
	return ""
}

// sendStorage sends a request to storage, signed with the account's key as
// "Authorize with Shared Key" of its REST API describes it (2015-02-21 and later).
func (p *player) sendStorage(ctx context.Context, e Exchange, u *url.URL) (*wire.Response, error) {
	h := http.Header{}
	for k, v := range e.Header {
		if k = http.CanonicalHeaderKey(k); strings.HasPrefix(k, "X-Ms-") || strings.HasPrefix(k, "If-") || k == "Range" || k == "Content-Type" || k == "Content-Md5" {
			h[k] = v
		}
	}
	h.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	body := p.learned.apply(e.Body)
	if body != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	account := storageAccount(u)
	h.Set("Authorization", "SharedKey "+account+":"+sign(p.keys[account], toSign(e.Method, account, u, h, len(body))))
	r := wire.Request{Method: e.Method, URL: u.String(), Header: h, NoToken: true}
	if body != "" {
		r.Body = body
	}
	return p.client.Do(ctx, r)
}

func sign(key, text string) string {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func toSign(method, account string, u *url.URL, h http.Header, length int) string {
	lines := []string{method}
	for _, name := range []string{"Content-Encoding", "Content-Language", "Content-Length", "Content-Md5", "Content-Type", "Date",
		"If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"} {
		value := h.Get(name)
		if name == "Content-Length" && length > 0 {
			value = strconv.Itoa(length)
		}
		lines = append(lines, value)
	}
	var own []string
	for k := range h {
		if strings.HasPrefix(k, "X-Ms-") {
			own = append(own, strings.ToLower(k)+":"+strings.TrimSpace(h.Get(k)))
		}
	}
	sort.Strings(own)
	lines = append(lines, own...)
	resource := "/" + account + u.EscapedPath()
	var parameters []string
	for k, v := range u.Query() {
		sort.Strings(v)
		parameters = append(parameters, "\n"+strings.ToLower(k)+":"+strings.Join(v, ","))
	}
	sort.Strings(parameters)
	return strings.Join(lines, "\n") + "\n" + resource + strings.Join(parameters, "")
}
