package blob_test

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"lazulite.dev/emulator/blob"
)

// serve calls the handler without a connection and wants an answer that is no fault of ours.
func (w *world) serve(t *testing.T, method, path, query, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://lazuli.blob.core.windows.net/", strings.NewReader(body))
	r.URL = &url.URL{Path: path, RawQuery: query}
	r.Header.Set("x-ms-version", "2020-12-06")
	if !strings.Contains(query, "sig=") {
		r.Header.Set("Authorization", "Bearer any")
	}
	rec := httptest.NewRecorder()
	w.s.ServeHTTP(rec, r)
	if rec.Code >= 500 && rec.Code != http.StatusNotImplemented {
		t.Fatalf("%s %s?%s = %d %s", method, path, query, rec.Code, rec.Body)
	}
	if text := rec.Body.String(); strings.HasPrefix(rec.Header().Get("Content-Type"), "application/xml") {
		var any struct {
			Inner string `xml:",innerxml"`
		}
		if err := xml.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &any); err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
	}
	return rec
}

func fuzzWorld(f *testing.F) *world {
	w := newWorld(f, func(c *blob.Config) {
		c.Verify = func(context.Context, string) error { return nil }
	})
	if err := w.s.EnsureContainer(context.Background(), acct, "data"); err != nil {
		f.Fatal(err)
	}
	return w
}

// FuzzXML sends bodies to all that read XML; what is taken must be shown again as XML.
func FuzzXML(f *testing.F) {
	for _, s := range []string{
		"<BlockList><Latest>MQ==</Latest></BlockList>",
		"<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Expiry>2030-01-01</Expiry></AccessPolicy></SignedIdentifier></SignedIdentifiers>",
		"<StorageServiceProperties><Cors><CorsRule><MaxAgeInSeconds>1</MaxAgeInSeconds></CorsRule></Cors></StorageServiceProperties>",
		"", "<", "<a/><b/>", "<!DOCTYPE x [<!ENTITY y 'z'>]><BlockList>&y;</BlockList>", "\xff\xfe<BlockList/>",
	} {
		f.Add(s)
	}
	w := fuzzWorld(f)
	f.Fuzz(func(t *testing.T, body string) {
		for path, query := range map[string]string{
			"/data/x": "comp=blocklist", "/data": "restype=container&comp=acl", "/": "restype=service&comp=properties",
		} {
			if rec := w.serve(t, "PUT", path, query, body); rec.Code < 300 {
				if rec := w.serve(t, "GET", path, query, ""); rec.Code != 200 {
					t.Fatalf("GET after PUT of %q = %d %s", body, rec.Code, rec.Body)
				}
			}
		}
	})
}

// FuzzSAS sends signatures that nobody made; none may open anything.
func FuzzSAS(f *testing.F) {
	for _, s := range []string{
		"sv=2018-03-28&sr=b&sp=r&se=2030-01-01&sig=AAAA", "sv=2020-12-06&ss=b&srt=sco&sp=rwdl&se=2030-01-01&sig=AAAA",
		"sig=", "sig=%00&si=p", "sv=2012-02-12&sr=c&sig=AA==&sip=1-2&spr=https", "sr=b;sig=1", "sig=%zz",
	} {
		f.Add(s)
	}
	w := fuzzWorld(f)
	if _, err := w.s.Put(context.Background(), acct, "data", "x", "", strings.NewReader("secret")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if !strings.Contains(query, "sig=") {
			query += "&sig=x"
		}
		if rec := w.serve(t, "GET", "/data/x", query, ""); rec.Code < 400 {
			t.Fatalf("%q = %d", query, rec.Code)
		}
	})
}

// FuzzRequest sends paths, queries and markers.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/data", "restype=container&comp=list&marker=2!YQ==&prefix=a&delimiter=/")
	f.Add("PUT", "/data/..", "comp=block&blockid=MQ==")
	f.Add("HEAD", "//", "comp=list")
	f.Add("DELETE", "/data/\xff", "snapshot=x")
	w := fuzzWorld(f)
	f.Fuzz(func(t *testing.T, method, path, query string) {
		switch method {
		case "GET", "PUT", "HEAD", "DELETE", "POST", "OPTIONS":
		default:
			method = "GET"
		}
		w.serve(t, method, path, query, "body")
	})
}
