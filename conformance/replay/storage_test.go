package replay

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Ensure that what is signed is as "Authorize with Shared Key" describes it.
func TestToSign(t *testing.T) {
	u, err := url.Parse("https://acct.blob.core.windows.net/box/a%20b?restype=container&comp=list&Prefix=x")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"X-Ms-Version": {"2017-07-29"}, "X-Ms-Date": {"Thu, 07 Jun 2018 22:08:25 GMT"}, "Content-Type": {"text/plain"}, "Range": {"bytes=1-2"}}
	want := "PUT\n\n\n5\n\ntext/plain\n\n\n\n\n\nbytes=1-2\nx-ms-date:Thu, 07 Jun 2018 22:08:25 GMT\nx-ms-version:2017-07-29\n/acct/box/a%20b\ncomp:list\nprefix:x\nrestype:container"
	if got := toSign("PUT", "acct", u, h, 5); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if got := toSign("GET", "acct", u, h, 0); !strings.HasPrefix(got, "GET\n\n\n\n\n") {
		t.Errorf("no length: %q", got)
	}
}

// Ensure that only what the service itself did in two ways is forgiven.
func TestDrift(t *testing.T) {
	const path = "/subscriptions/{id}/providers/Microsoft.Storage/locations/x/asyncoperations/{id}?api-version="
	for _, tt := range []struct {
		header, recorded, answered string
		forgiven                   bool
	}{
		{"Location", path + "2017-10-01&monitor=true", path + "2018-03-01-preview&monitor=true", true},
		{"Location", path + "2018-03-01-preview&monitor=true", path + "2017-10-01&monitor=true", true},
		{"Location", path + "2017-10-01&monitor=true", path + "2018-03-01-preview", false},
		{"Location", path + "2017-10-01", path + "2019-01-01", false},
		{"Azure-AsyncOperation", path + "2017-10-01", path + "2018-03-01-preview", false},
		{"Location", strings.Replace(path, "Storage", "Compute", 1) + "2017-10-01", strings.Replace(path, "Storage", "Compute", 1) + "2018-03-01-preview", false},
	} {
		if got := drifted(tt.header, tt.recorded, tt.answered) != ""; got != tt.forgiven {
			t.Errorf("%s %s, %s: %v", tt.header, tt.recorded, tt.answered, got)
		}
	}
}

// Ensure that a request is not played that can't be signed.
func TestUnsigned(t *testing.T) {
	p := &player{keys: map[string]string{"acct": "a2V5"}}
	for raw, played := range map[string]bool{"https://acct.file.core.windows.net/s?restype=share": true, "https://other.file.core.windows.net/s": false, "https://acct.blob.core.windows.net/c/b?sig=x": false} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if (p.unsigned(u) == "") != played {
			t.Errorf("%s: %q", raw, p.unsigned(u))
		}
	}
	p.keep(Exchange{Method: "POST", URL: "https://management.azure.com/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/Other/listKeys?api-version=x"}, Answer{Body: `{"keys":[{"value":"eA=="}]}`})
	if p.keys["other"] != "eA==" {
		t.Errorf("keys: %v", p.keys)
	}
}
