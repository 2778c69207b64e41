package blob_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
)

func TestSharedKey(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	put(t, w, "/data/x%20y%2Bz", "hello")
	at := start.Format(http.TimeFormat)
	rows := []struct {
		name   string
		change func(*http.Request)
		sign   func(*http.Request) string
		status int
		code   string
		holds  string
	}{
		{name: "ok", status: 200},
		{name: "second key", sign: func(r *http.Request) string { return "SharedKey lazuli:" + mac(w.keys[1], sharedText(r, acct, "")) }, status: 200},
		{name: "date header", change: func(r *http.Request) { r.Header.Del("x-ms-date"); r.Header.Set("Date", at) }, status: 200},
		{name: "lite", sign: func(r *http.Request) string {
			return "SharedKeyLite lazuli:" + mac(w.keys[0], "GET\n\n\n\n"+xms(r)+"/lazuli/data/x%20y%2Bz")
		}, status: 200},
		{name: "lite with date", change: func(r *http.Request) { r.Header.Del("x-ms-date"); r.Header.Set("Date", at) }, sign: func(r *http.Request) string {
			return "SharedKeyLite lazuli:" + mac(w.keys[0], "GET\n\n\n"+at+"\n"+xms(r)+"/lazuli/data/x%20y%2Bz")
		}, status: 200},
		{name: "lite with comp", change: func(r *http.Request) { r.URL.RawQuery = "comp=metadata" }, sign: func(r *http.Request) string {
			return "SharedKeyLite lazuli:" + mac(w.keys[0], "GET\n\n\n\n"+xms(r)+"/lazuli/data/x%20y%2Bz?comp=metadata")
		}, status: 200},
		{name: "service's header order", change: func(r *http.Request) { r.Header.Set("x-ms-a-b", "1"); r.Header.Set("x-ms-ac", "2") }, sign: func(r *http.Request) string {
			return "SharedKey lazuli:" + mac(w.keys[0], strings.Replace(sharedText(r, acct, ""), "x-ms-a-b:1\nx-ms-ac:2\n", "x-ms-a-b:1\nx-ms-ac:2\n", 1))
		}, status: 200},
		{name: "hyphens last", change: func(r *http.Request) { r.Header.Set("x-ms-a-c", "1"); r.Header.Set("x-ms-ab", "2") }, sign: func(r *http.Request) string {
			return "SharedKey lazuli:" + mac(w.keys[0], strings.Replace(sharedText(r, acct, ""), "x-ms-a-c:1\nx-ms-ab:2\n", "x-ms-ab:2\nx-ms-a-c:1\n", 1))
		}, status: 200},
		{name: "empty header counts", change: func(r *http.Request) { r.Header.Set("x-ms-empty", "") }, status: 200},
		{name: "empty header once did not", change: func(r *http.Request) { r.Header.Set("x-ms-empty", ""); r.Header.Set("x-ms-version", "2015-12-11") }, sign: func(r *http.Request) string {
			return "SharedKey lazuli:" + mac(w.keys[0], strings.Replace(sharedText(r, acct, ""), "x-ms-empty:\n", "", 1))
		}, status: 200},
		{name: "wrong key", sign: func(r *http.Request) string { return "SharedKey lazuli:" + mac("AAAA", sharedText(r, acct, "")) }, status: 403, code: "AuthenticationFailed", holds: "is not the same as any computed signature"},
		{name: "not base64", sign: func(*http.Request) string { return "SharedKey lazuli:!" }, status: 403, code: "AuthenticationFailed"},
		{name: "other account", sign: func(r *http.Request) string { return "SharedKey other:" + mac(w.keys[0], sharedText(r, "other", "")) }, status: 403, code: "AuthenticationFailed"},
		{name: "no signature", sign: func(*http.Request) string { return "SharedKey lazuli" }, status: 400, code: "InvalidHeaderValue"},
		{name: "odd scheme", sign: func(*http.Request) string { return "Basic abc" }, status: 400, code: "InvalidHeaderValue"},
		{name: "no version", change: func(r *http.Request) { r.Header.Del("x-ms-version") }, status: 400, code: "MissingRequiredHeader"},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("x-ms-date") }, status: 403, code: "AuthenticationFailed", holds: "The Date header in the request is incorrect"},
		{name: "odd date", change: func(r *http.Request) { r.Header.Set("x-ms-date", "today") }, status: 403, code: "AuthenticationFailed"},
		{name: "old date", change: func(r *http.Request) {
			r.Header.Set("x-ms-date", start.Add(-16*time.Minute).Format(http.TimeFormat))
		}, status: 403, code: "AuthenticationFailed", holds: "Request date header too old"},
		{name: "bearer", sign: func(*http.Request) string { return "Bearer abc" }, status: 401, code: "InvalidAuthenticationInfo"},
		{name: "changed after signing", sign: func(r *http.Request) string {
			s := "SharedKey lazuli:" + mac(w.keys[0], sharedText(r, acct, ""))
			r.Header.Set("x-ms-range", "bytes=0-1")
			return s
		}, status: 403, code: "AuthenticationFailed"},
	}
	for _, x := range rows {
		t.Run(x.name, func(t *testing.T) {
			r := w.request("GET", "/data/x%20y%2Bz", "", hdr("x-ms-version", "2018-03-28", "x-ms-date", at))
			if x.change != nil {
				x.change(r)
			}
			auth := "SharedKey lazuli:" + mac(w.keys[0], sharedText(r, acct, ""))
			if x.sign != nil {
				auth = x.sign(r)
			}
			r.Header.Set("Authorization", auth)
			a := w.send(r)
			if a.status != x.status || a.code() != x.code || !strings.Contains(a.body, x.holds) {
				t.Fatalf("= %d %s, want %d %s with %q\n%s", a.status, a.code(), x.status, x.code, x.holds, a.body)
			}
			for _, key := range w.keys {
				if strings.Contains(a.body, key) {
					t.Error("the answer has a key in it")
				}
			}
		})
	}
	t.Run("zero length was 0 up to 2014-02-14", func(t *testing.T) {
		for version, length := range map[string]string{"2014-02-14": "0", "2015-02-21": ""} {
			r := w.request("PUT", "/data?restype=container&comp=metadata", "", hdr("x-ms-version", version, "x-ms-date", at))
			r.Body = http.NoBody
			r.Header.Set("Authorization", "SharedKey lazuli:"+mac(w.keys[0], sharedText(r, acct, length)))
			if a := w.send(r); a.status != 200 {
				t.Errorf("%s: %d %s", version, a.status, a.body)
			}
		}
	})
	t.Run("a vector of the documentation's form", func(t *testing.T) {
		// Computed with openssl from the text, so that nothing of ours made it.
		const key = "Zm9vYmFyYmF6cXV4" // foobarbazqux
		if got, want := mac(key, "GET\n\n\n"), "CzN06m0J+79nwrDRsd+0+FXsYYaSxALZcNKQCTgVzsI="; got != want {
			t.Errorf("mac = %s, want %s", got, want)
		}
	})
	t.Run("regenerated key", func(t *testing.T) {
		if err := w.s.RegenerateKey(context.Background(), acct, 0); err != nil {
			t.Fatal(err)
		}
		if a := w.owner("GET", "/data/x%20y%2Bz", "", nil); a.status != 403 {
			t.Errorf("old key = %d", a.status)
		}
		w.keys[0], w.keys[1] = w.keys[1], ""
		if a := w.owner("GET", "/data/x%20y%2Bz", "", nil); a.status != 200 {
			t.Errorf("other key = %d", a.status)
		}
	})
}

func TestBearer(t *testing.T) {
	w := newWorld(t, func(c *blob.Config) {
		c.Verify = func(_ context.Context, token string) error {
			if token != "good" {
				return errors.New("token is for another audience")
			}
			return nil
		}
	})
	if a := w.anyone("PUT", "/data?restype=container", "", hdr("Authorization", "Bearer good")); a.status != 201 {
		t.Errorf("good = %d %s", a.status, a.body)
	}
	a := w.anyone("PUT", "/date?restype=container", "", hdr("Authorization", "Bearer bad"))
	if a.status != 401 || a.code() != "InvalidAuthenticationInfo" || !strings.Contains(a.header.Get("WWW-Authenticate"), "storage.azure.com") || !strings.Contains(a.body, "another audience") {
		t.Errorf("bad = %d %v %s", a.status, a.header, a.body)
	}
}

func TestAnonymous(t *testing.T) {
	w := newWorld(t)
	for name, public := range map[string]string{"closed": "", "blobs": "blob", "wide": "container"} {
		h := hdr()
		if public != "" {
			h = hdr("x-ms-blob-public-access", public)
		}
		w.must(201, "PUT", "/"+name+"?restype=container", "", h)
		put(t, w, "/"+name+"/x", "hello")
	}
	for path, want := range map[string]int{
		"/closed/x": 404, "/blobs/x": 200, "/wide/x": 200, "/blobs/none": 404, "/nothing/x": 404,
		"/closed?restype=container&comp=list": 404, "/blobs?restype=container&comp=list": 404, "/wide?restype=container&comp=list": 200,
		"/blobs?restype=container": 404, "/wide?restype=container": 200, "/wide?restype=container&comp=acl": 404, "/?comp=list": 404,
	} {
		if a := w.anyone("GET", path, "", nil); a.status != want {
			t.Errorf("GET %s = %d, want %d: %s", path, a.status, want, a.body)
		}
	}
	for _, method := range []string{"PUT", "DELETE"} {
		if a := w.anyone(method, "/wide/x", "", block); a.status != 404 || a.code() != "ResourceNotFound" {
			t.Errorf("%s = %d %s", method, a.status, a.code())
		}
	}
}

// serviceText is the string-to-sign of a service SAS, from the documentation.
func serviceText(sv string, q url.Values, resource string) string {
	g := q.Get
	if sv >= "2015-02-21" {
		resource = "/blob" + resource
	}
	var parts []string
	switch {
	case sv >= "2020-12-06":
		parts = []string{g("sp"), g("st"), g("se"), resource, g("si"), g("sip"), g("spr"), sv, g("sr"), g("snapshot"), g("ses"), g("rscc"), g("rscd"), g("rsce"), g("rscl"), g("rsct")}
	case sv >= "2018-11-09":
		parts = []string{g("sp"), g("st"), g("se"), resource, g("si"), g("sip"), g("spr"), sv, g("sr"), g("snapshot"), g("rscc"), g("rscd"), g("rsce"), g("rscl"), g("rsct")}
	case sv >= "2015-04-05":
		parts = []string{g("sp"), g("st"), g("se"), resource, g("si"), g("sip"), g("spr"), sv, g("rscc"), g("rscd"), g("rsce"), g("rscl"), g("rsct")}
	case sv >= "2013-08-15":
		parts = []string{g("sp"), g("st"), g("se"), resource, g("si"), sv, g("rscc"), g("rscd"), g("rsce"), g("rscl"), g("rsct")}
	default:
		parts = []string{g("sp"), g("st"), g("se"), resource, g("si"), sv}
	}
	return strings.Join(parts, "\n")
}

func TestServiceSAS(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	w.must(200, "PUT", "/data?restype=container&comp=acl", `<SignedIdentifiers><SignedIdentifier><Id>reader</Id><AccessPolicy><Start>2018-10-01</Start><Expiry>2018-11-01T00:00:00.0000000Z</Expiry><Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>`, nil)
	put(t, w, "/data/a/ü%20b", "hello")
	const later = "2018-10-16T00:00:00Z"
	type row struct {
		name   string
		sv     string
		q      string // beside sv
		method string
		path   string
		body   string
		header http.Header
		status int
		code   string
		detail string
		want   string // Content-Type
	}
	var rows []row
	for _, sv := range []string{"2012-02-12", "2013-08-15", "2014-02-14", "2015-02-21", "2015-04-05", "2018-03-28", "2018-11-09", "2019-12-12", "2020-12-06", "2026-10-06"} {
		rows = append(rows,
			row{name: "blob " + sv, sv: sv, q: "sr=b&sp=r&se=" + later, status: 200},
			row{name: "container " + sv, sv: sv, q: "sr=c&sp=rl&se=" + later, status: 200},
			row{name: "container list " + sv, sv: sv, q: "sr=c&sp=rl&se=" + later, path: "/data?restype=container&comp=list", status: 200})
	}
	v := "2018-03-28"
	rows = append(rows, []row{
		{name: "override", sv: v, q: "sr=b&sp=r&rsct=text/css&se=" + later, status: 200, want: "text/css"},
		{name: "policy", sv: v, q: "sr=b&si=reader", status: 200},
		{name: "unknown policy", sv: v, q: "sr=b&si=writer", status: 403, code: "AuthenticationFailed", detail: "SAS identifier not found"},
		{name: "policy and own expiry", sv: v, q: "sr=b&si=reader&se=" + later, status: 403, code: "AuthenticationFailed", detail: "not both: se"},
		{name: "policy does not write", sv: v, q: "sr=b&si=reader", method: "DELETE", status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "expired", sv: v, q: "sr=b&sp=r&se=2018-10-15T11:59:59Z", status: 403, code: "AuthenticationFailed", detail: "Signature not valid in the specified time frame: Start [-] - Expiry [Mon, 15 Oct 2018 11:59:59 GMT] - Current [Mon, 15 Oct 2018 12:00:00 GMT]"},
		{name: "expires now", sv: v, q: "sr=b&sp=r&se=2018-10-15T12:00Z", status: 403, code: "AuthenticationFailed"},
		{name: "not yet", sv: v, q: "sr=b&sp=r&st=2018-10-15T12:00:01Z&se=" + later, status: 403, code: "AuthenticationFailed", detail: "Start [Mon, 15 Oct 2018 12:00:01 GMT]"},
		{name: "started", sv: v, q: "sr=b&sp=r&st=2018-10-15&se=" + later, status: 200},
		{name: "no expiry", sv: v, q: "sr=b&sp=r", status: 403, code: "AuthenticationFailed", detail: "se is mandatory"},
		{name: "odd expiry", sv: v, q: "sr=b&sp=r&se=soon", status: 403, code: "AuthenticationFailed", detail: "se is not valid: soon"},
		{name: "no permission", sv: v, q: "sr=b&se=" + later, status: 403, code: "AuthenticationFailed", detail: "sp is mandatory"},
		{name: "no resource", sv: v, q: "sp=r&se=" + later, status: 403, code: "AuthenticationFailed", detail: "sr is mandatory"},
		{name: "odd resource", sv: v, q: "sr=x&sp=r&se=" + later, status: 403, code: "AuthenticationFailed", detail: "sr is not valid"},
		{name: "odd version", sv: "2099-01-01", q: "sr=b&sp=r&se=" + later, status: 403, code: "AuthenticationFailed", detail: "sv is not valid", header: hdr("x-ms-version", v)},
		{name: "https only", sv: v, q: "sr=b&sp=r&spr=https&se=" + later, status: 403, code: "AuthorizationProtocolMismatch"},
		{name: "either protocol", sv: v, q: "sr=b&sp=r&spr=https,http&se=" + later, status: 200},
		{name: "address", sv: v, q: "sr=b&sp=r&sip=127.0.0.1&se=" + later, status: 200},
		{name: "addresses", sv: v, q: "sr=b&sp=r&sip=127.0.0.0-127.0.0.9&se=" + later, status: 200},
		{name: "other address", sv: v, q: "sr=b&sp=r&sip=10.0.0.1&se=" + later, status: 403, code: "AuthorizationSourceIPMismatch"},
		{name: "odd address", sv: v, q: "sr=b&sp=r&sip=home&se=" + later, status: 403, code: "AuthenticationFailed", detail: "sip is not valid"},
		{name: "list by a blob's", sv: v, q: "sr=b&sp=rl&se=" + later, path: "/data?restype=container&comp=list", status: 403, code: "AuthorizationResourceTypeMismatch"},
		{name: "list without l", sv: v, q: "sr=c&sp=r&se=" + later, path: "/data?restype=container&comp=list", status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "container properties", sv: v, q: "sr=c&sp=rwdl&se=" + later, path: "/data?restype=container", status: 403, code: "AuthorizationFailure"},
		{name: "delete container", sv: v, q: "sr=c&sp=rwdl&se=" + later, method: "DELETE", path: "/data?restype=container", status: 403, code: "AuthorizationFailure"},
		{name: "containers", sv: v, q: "sr=c&sp=rwdl&se=" + later, path: "/?comp=list", status: 403, code: "AuthorizationFailure"},
		{name: "create", sv: v, q: "sr=c&sp=c&se=" + later, method: "PUT", path: "/data/new", body: "x", header: block, status: 201},
		{name: "create over", sv: v, q: "sr=c&sp=c&se=" + later, method: "PUT", path: "/data/new", body: "y", header: block, status: 403, code: "UnauthorizedBlobOverwrite"},
		{name: "write over", sv: v, q: "sr=c&sp=w&se=" + later, method: "PUT", path: "/data/new", body: "y", header: block, status: 201},
		{name: "write by a reader", sv: v, q: "sr=c&sp=r&se=" + later, method: "PUT", path: "/data/new", body: "z", header: block, status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "user delegation", sv: v, q: "sr=b&sp=r&skoid=1&se=" + later, status: 403, code: "AuthenticationFailed", detail: "user delegation"},
	}...)
	for _, x := range rows {
		t.Run(x.name, func(t *testing.T) {
			path, method := x.path, x.method
			if path == "" {
				path = "/data/a/ü%20b"
			}
			if method == "" {
				method = "GET"
			}
			q, err := url.ParseQuery(x.q)
			if err != nil {
				t.Fatal(err)
			}
			q.Set("sv", x.sv)
			resource := "/lazuli/data"
			if q.Get("sr") == "b" && !strings.Contains(path, "restype") {
				resource += "/a/ü b"
			}
			query := signQuery(w.keys[0], serviceText(x.sv, q, resource), q)
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			a := w.anyone(method, path+sep+query, x.body, x.header)
			if a.status != x.status || a.code() != x.code || !strings.Contains(a.body, x.detail) {
				t.Fatalf("= %d %s, want %d %s with %q\n%s", a.status, a.code(), x.status, x.code, x.detail, a.body)
			}
			if x.want != "" && a.header.Get("Content-Type") != x.want {
				t.Errorf("Content-Type = %q", a.header.Get("Content-Type"))
			}
			if strings.Contains(a.body, url.QueryEscape(q.Get("sig"))) || strings.Contains(a.body, q.Get("sig")) {
				t.Error("the signature is in the answer")
			}
		})
	}
	t.Run("forged", func(t *testing.T) {
		q := url.Values{"sr": {"b"}, "sp": {"r"}, "se": {later}, "sv": {v}}
		a := w.anyone("GET", "/data/a/ü%20b?"+signQuery(base64.StdEncoding.EncodeToString([]byte("guess")), serviceText(v, q, "/lazuli/data/a/ü b"), q), "", nil)
		if a.status != 403 || a.code() != "AuthenticationFailed" || !strings.Contains(a.body, "Signature did not match. String to sign used was r\n\n2018-10-16T00:00:00Z\n/blob/lazuli/data/a/ü b\n") {
			t.Errorf("= %d %s", a.status, a.body)
		}
	})
}

func TestAccountSAS(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	put(t, w, "/data/x", "hello")
	const se = "2018-10-16T00:00:00Z"
	rows := []struct {
		name, q, method, path, body string
		status                      int
		code                        string
	}{
		{name: "list containers", q: "ss=b&srt=s&sp=l", path: "/?comp=list", status: 200},
		{name: "list blobs", q: "ss=bfqt&srt=sco&sp=rl", path: "/data?restype=container&comp=list", status: 200},
		{name: "read", q: "ss=b&srt=o&sp=r", path: "/data/x", status: 200},
		{name: "create container", q: "ss=b&srt=c&sp=c", method: "PUT", path: "/more?restype=container", status: 201},
		{name: "delete container", q: "ss=b&srt=c&sp=d", method: "DELETE", path: "/more?restype=container", status: 202},
		{name: "other service", q: "ss=f&srt=o&sp=r", path: "/data/x", status: 403, code: "AuthorizationServiceMismatch"},
		{name: "other type", q: "ss=b&srt=sc&sp=r", path: "/data/x", status: 403, code: "AuthorizationResourceTypeMismatch"},
		{name: "other permission", q: "ss=b&srt=o&sp=w", path: "/data/x", status: 403, code: "AuthorizationPermissionMismatch"},
		{name: "acl", q: "ss=b&srt=sco&sp=rwdl", path: "/data?restype=container&comp=acl", status: 403, code: "AuthorizationFailure"},
		{name: "no types", q: "ss=b&sp=r", path: "/data/x", status: 403, code: "AuthenticationFailed"},
	}
	for _, sv := range []string{"2015-04-05", "2018-03-28", "2020-12-06"} {
		for _, x := range rows {
			t.Run(x.name+" "+sv, func(t *testing.T) {
				q, _ := url.ParseQuery(x.q)
				q.Set("se", se)
				q.Set("sv", sv)
				g := q.Get
				text := strings.Join([]string{acct, g("sp"), g("ss"), g("srt"), g("st"), se, g("sip"), g("spr"), sv, ""}, "\n")
				if sv >= "2020-12-06" {
					text += "\n"
				}
				sep := "?"
				if strings.Contains(x.path, "?") {
					sep = "&"
				}
				method := x.method
				if method == "" {
					method = "GET"
				}
				a := w.anyone(method, x.path+sep+signQuery(w.keys[1], text, q), x.body, nil)
				if a.status != x.status || a.code() != x.code {
					t.Errorf("= %d %s, want %d %s\n%s", a.status, a.code(), x.status, x.code, a.body)
				}
			})
		}
	}
}

func TestSASOfTheService(t *testing.T) {
	tick := clock.NewManual(start)
	w := newWorld(t, func(c *blob.Config) { c.Clock = tick })
	ctx := context.Background()
	if _, err := w.s.SAS(ctx, acct, "data", "", "r", start.Add(time.Hour)); err == nil {
		t.Error("SAS of an absent container: no error")
	}
	if err := w.s.EnsureContainer(ctx, acct, "data"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.SAS(ctx, acct, "data", "", "z", start.Add(time.Hour)); err == nil {
		t.Error("SAS of permission z: no error")
	}
	u, err := w.s.SAS(ctx, acct, "data", "a b/ü#?.txt", "wrc", start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(u, "https://lazuli.blob.core.windows.net/data/")
	if !ok {
		t.Fatalf("SAS = %s", u)
	}
	if a := w.anyone("PUT", "/data/"+rest, "hi", block); a.status != 201 {
		t.Errorf("PUT = %d %s", a.status, a.body)
	}
	if a := w.anyone("GET", "/data/"+rest, "", nil); a.body != "hi" {
		t.Errorf("GET = %d %s", a.status, a.body)
	}
	tick.Advance(time.Hour)
	if a := w.anyone("GET", "/data/"+rest, "", nil); a.status != 403 {
		t.Errorf("GET after expiry = %d", a.status)
	}
}
