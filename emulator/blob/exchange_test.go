package blob_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// exchange is one request by the account's owner and what must come back.
type exchange struct {
	name   string
	method string
	path   string
	body   string
	header http.Header
	status int
	code   string            // x-ms-error-code
	want   map[string]string // headers; "-" for absent
	holds  []string          // in the body
	exact  string            // the whole body
}

func (w *world) play(t *testing.T, rows []exchange) {
	t.Helper()
	for _, x := range rows {
		ok := t.Run(x.name, func(t *testing.T) {
			a := w.owner(x.method, x.path, x.body, x.header)
			if a.status != x.status || a.code() != x.code {
				t.Fatalf("%s %s = %d %s, want %d %s\n%s", x.method, x.path, a.status, a.code(), x.status, x.code, a.body)
			}
			for name, v := range x.want {
				got := a.header.Get(name)
				if v == "-" && got != "" || v != "-" && got != v {
					t.Errorf("header %s = %q, want %q", name, got, v)
				}
			}
			for _, s := range x.holds {
				if !strings.Contains(a.body, s) {
					t.Errorf("body lacks %q:\n%s", s, a.body)
				}
			}
			if x.exact != "" && a.body != x.exact {
				t.Errorf("body = %q, want %q", a.body, x.exact)
			}
			if x.code != "" && x.method != "HEAD" && x.status != 304 && !strings.Contains(a.body, "<Code>"+x.code+"</Code>") {
				t.Errorf("no %s in the envelope: %s", x.code, a.body)
			}
			for _, name := range []string{"x-ms-request-id", "x-ms-version", "Date"} {
				if a.header.Get(name) == "" {
					t.Errorf("no %s", name)
				}
			}
		})
		if !ok {
			return
		}
	}
}

func id64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var block = hdr("x-ms-blob-type", "BlockBlob")

func TestContainers(t *testing.T) {
	w := newWorld(t)
	policies := `<SignedIdentifiers><SignedIdentifier><Id>p1</Id><AccessPolicy><Expiry>2030-01-01</Expiry><Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>`
	six := "<SignedIdentifiers>" + strings.Repeat("<SignedIdentifier><Id>p</Id></SignedIdentifier>", 6) + "</SignedIdentifiers>"
	w.play(t, []exchange{
		{name: "create", method: "PUT", path: "/data?restype=container", header: hdr("x-ms-meta-Team", "blue"), status: 201, want: map[string]string{"Last-Modified": "Mon, 15 Oct 2018 12:00:00 GMT"}},
		{name: "create again", method: "PUT", path: "/data?restype=container", status: 409, code: "ContainerAlreadyExists"},
		{name: "create public", method: "PUT", path: "/open?restype=container", header: hdr("x-ms-blob-public-access", "blob"), status: 201},
		{name: "create odd access", method: "PUT", path: "/odd?restype=container", header: hdr("x-ms-blob-public-access", "all"), status: 400, code: "InvalidHeaderValue", holds: []string{"<HeaderName>x-ms-blob-public-access</HeaderName>"}},
		{name: "properties", method: "HEAD", path: "/data?restype=container", status: 200, want: map[string]string{"x-ms-meta-team": "blue", "x-ms-lease-state": "available", "x-ms-blob-public-access": "-"}},
		{name: "metadata", method: "GET", path: "/data?restype=container&comp=metadata", status: 200, want: map[string]string{"x-ms-meta-team": "blue"}},
		{name: "set metadata", method: "PUT", path: "/data?restype=container&comp=metadata", header: hdr("x-ms-meta-b", "2"), status: 200},
		{name: "metadata replaced", method: "GET", path: "/data?restype=container", status: 200, want: map[string]string{"x-ms-meta-team": "-", "x-ms-meta-b": "2"}},
		{name: "bad metadata", method: "PUT", path: "/data?restype=container&comp=metadata", header: hdr("x-ms-meta-a-b", "2"), status: 400, code: "InvalidMetadata"},
		{name: "large metadata", method: "PUT", path: "/data?restype=container&comp=metadata", header: hdr("x-ms-meta-a", strings.Repeat("x", 8200)), status: 400, code: "MetadataTooLarge"},
		{name: "set acl", method: "PUT", path: "/data?restype=container&comp=acl", body: policies, header: hdr("x-ms-blob-public-access", "container"), status: 200},
		{name: "get acl", method: "GET", path: "/data?restype=container&comp=acl", status: 200, want: map[string]string{"x-ms-blob-public-access": "container"}, holds: []string{"<Id>p1</Id><AccessPolicy><Expiry>2030-01-01</Expiry><Permission>r</Permission>"}},
		{name: "acl not xml", method: "PUT", path: "/data?restype=container&comp=acl", body: "<Signed", status: 400, code: "InvalidXmlDocument"},
		{name: "acl of six", method: "PUT", path: "/data?restype=container&comp=acl", body: six, status: 400, code: "InvalidXmlDocument"},
		{name: "acl bad expiry", method: "PUT", path: "/data?restype=container&comp=acl", body: strings.Replace(policies, "2030-01-01", "soon", 1), status: 400, code: "InvalidXmlNodeValue", holds: []string{"<XmlNodeName>Expiry</XmlNodeName>"}},
		{name: "acl unchanged by refusals", method: "GET", path: "/data?restype=container&comp=acl", status: 200, holds: []string{"<Id>p1</Id>"}},
		{name: "list", method: "GET", path: "/?comp=list", status: 200, holds: []string{`ServiceEndpoint="http://lazuli.blob.core.windows.net/"`, "<Name>data</Name>", "<Name>open</Name>", "<PublicAccess>blob</PublicAccess>", "<NextMarker></NextMarker>"}},
		{name: "list with metadata", method: "GET", path: "/?comp=list&include=metadata&prefix=da", status: 200, holds: []string{"<Prefix>da</Prefix>", "<Metadata><b>2</b></Metadata>"}},
		{name: "list page", method: "GET", path: "/?comp=list&maxresults=1", status: 200, holds: []string{"<MaxResults>1</MaxResults>", "<NextMarker>2!ZGF0YQ==</NextMarker>"}},
		{name: "list next page", method: "GET", path: "/?comp=list&maxresults=1&marker=2!ZGF0YQ==", status: 200, holds: []string{"<Name>open</Name>", "<NextMarker></NextMarker>"}},
		{name: "list odd marker", method: "GET", path: "/?comp=list&marker=abc", status: 400, code: "InvalidQueryParameterValue", holds: []string{"<QueryParameterName>marker</QueryParameterName>"}},
		{name: "list zero", method: "GET", path: "/?comp=list&maxresults=0", status: 400, code: "OutOfRangeQueryParameterValue"},
		{name: "list word", method: "GET", path: "/?comp=list&maxresults=many", status: 400, code: "InvalidQueryParameterValue"},
		{name: "delete", method: "DELETE", path: "/data?restype=container", status: 202},
		{name: "delete again", method: "DELETE", path: "/data?restype=container", status: 404, code: "ContainerNotFound"},
		{name: "get deleted", method: "HEAD", path: "/data?restype=container", status: 404, code: "ContainerNotFound"},
		{name: "put into deleted", method: "PUT", path: "/data/x", header: block, status: 404, code: "ContainerNotFound"},
		{name: "make anew", method: "PUT", path: "/data?restype=container", status: 201},
		{name: "anew is bare", method: "GET", path: "/data?restype=container", status: 200, want: map[string]string{"x-ms-meta-b": "-", "x-ms-blob-public-access": "-"}},
		{name: "upper case name", method: "PUT", path: "/Data?restype=container", status: 400, code: "InvalidResourceName"},
		{name: "double hyphen", method: "PUT", path: "/da--ta?restype=container", status: 400, code: "InvalidResourceName"},
		{name: "short name", method: "PUT", path: "/da?restype=container", status: 400, code: "OutOfRangeInput"},
		{name: "lease", method: "PUT", path: "/data?restype=container&comp=lease", status: 501, code: "NotImplemented"},
		{name: "unknown comp", method: "PUT", path: "/data?restype=container&comp=magic", status: 400, code: "InvalidQueryParameterValue"},
		{name: "wrong verb", method: "DELETE", path: "/data?restype=container&comp=acl", status: 405, code: "UnsupportedHttpVerb"},
		{name: "old version", method: "GET", path: "/?comp=list", header: hdr("x-ms-version", "2008-10-27"), status: 400, code: "InvalidHeaderValue", holds: []string{"<HeaderName>x-ms-version</HeaderName>"}},
		{name: "future version", method: "GET", path: "/?comp=list", header: hdr("x-ms-version", "2099-01-01"), status: 400, code: "InvalidHeaderValue"},
		{name: "no date as version", method: "GET", path: "/?comp=list", header: hdr("x-ms-version", "latest"), status: 400, code: "InvalidHeaderValue"},
		{name: "newest version", method: "GET", path: "/?comp=list", header: hdr("x-ms-version", "2026-10-06"), status: 200},
	})
}

func TestServiceProperties(t *testing.T) {
	w := newWorld(t)
	w.play(t, []exchange{
		{name: "defaults", method: "GET", path: "/?restype=service&comp=properties", status: 200, holds: []string{"<StorageServiceProperties><Logging><Version>1.0</Version>", "<Cors></Cors>"}},
		{name: "set", method: "PUT", path: "/?restype=service&comp=properties", body: `<StorageServiceProperties><Cors><CorsRule><AllowedMethods>GET</AllowedMethods><AllowedOrigins>*</AllowedOrigins><AllowedHeaders></AllowedHeaders><ExposedHeaders></ExposedHeaders><MaxAgeInSeconds>5</MaxAgeInSeconds></CorsRule></Cors></StorageServiceProperties>`, status: 202},
		{name: "kept beside the rest", method: "GET", path: "/?restype=service&comp=properties", status: 200, holds: []string{"<MaxAgeInSeconds>5</MaxAgeInSeconds>", "<HourMetrics>"}},
		{name: "not xml", method: "PUT", path: "/?restype=service&comp=properties", body: `cors`, status: 400, code: "InvalidXmlDocument"},
		{name: "bad version", method: "PUT", path: "/?restype=service&comp=properties", body: `<StorageServiceProperties><DefaultServiceVersion>x</DefaultServiceVersion></StorageServiceProperties>`, status: 400, code: "InvalidXmlNodeValue"},
		{name: "account", method: "GET", path: "/?restype=account&comp=properties", status: 200, want: map[string]string{"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2"}},
		{name: "stats", method: "GET", path: "/?restype=service&comp=stats", status: 501, code: "NotImplemented"},
	})
	r := w.request("GET", "/?comp=list", "", nil)
	r.Host = "nobody.blob.core.windows.net"
	if a := w.send(r); a.status != 404 || a.code() != "ResourceNotFound" || !strings.Contains(a.body, "The specified account does not exist.") {
		t.Errorf("no such account = %d %s", a.status, a.body)
	}
}

func TestBlockBlobs(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	x := "0123456789"
	sum := "eB5eJF1ptWaXm4bijSPyxw==" // md5 of x
	a, b, c := id64("aaaa"), id64("bbbb"), id64("cccc")
	w.play(t, []exchange{
		{name: "put", method: "PUT", path: "/data/a/b.txt", body: x, header: hdr("x-ms-blob-type", "BlockBlob", "Content-Type", "text/plain", "x-ms-meta-k", "v", "x-ms-blob-cache-control", "no-cache", "Content-MD5", sum), status: 201, want: map[string]string{"Content-MD5": sum, "x-ms-request-server-encrypted": "true"}},
		{name: "get", method: "GET", path: "/data/a/b.txt", status: 200, exact: x, want: map[string]string{"Content-Type": "text/plain", "Content-MD5": sum, "Content-Length": "10", "x-ms-meta-k": "v", "Cache-Control": "no-cache", "x-ms-blob-type": "BlockBlob", "Accept-Ranges": "bytes", "Last-Modified": "Mon, 15 Oct 2018 12:00:00 GMT"}},
		{name: "head", method: "HEAD", path: "/data/a/b.txt", status: 200, want: map[string]string{"Content-Length": "10", "Content-MD5": sum, "x-ms-access-tier": "Hot"}},
		{name: "range", method: "GET", path: "/data/a/b.txt", header: hdr("x-ms-range", "bytes=2-4", "Range", "bytes=0-0"), status: 206, exact: "234", want: map[string]string{"Content-Range": "bytes 2-4/10", "Content-MD5": "-", "x-ms-blob-content-md5": sum}},
		{name: "open range", method: "GET", path: "/data/a/b.txt", header: hdr("Range", "bytes=8-"), status: 206, exact: "89"},
		{name: "long range", method: "GET", path: "/data/a/b.txt", header: hdr("x-ms-range", "bytes=8-33554431"), status: 206, exact: "89", want: map[string]string{"Content-Range": "bytes 8-9/10"}},
		{name: "range with md5", method: "GET", path: "/data/a/b.txt", header: hdr("x-ms-range", "bytes=0-9", "x-ms-range-get-content-md5", "true"), status: 206, exact: x, want: map[string]string{"Content-MD5": sum}},
		{name: "md5 without range", method: "GET", path: "/data/a/b.txt", header: hdr("x-ms-range-get-content-md5", "true"), status: 400, code: "MissingRequiredHeader"},
		{name: "range past the end", method: "GET", path: "/data/a/b.txt", header: hdr("x-ms-range", "bytes=10-"), status: 416, code: "InvalidRange", want: map[string]string{"Content-Range": "bytes */10"}},
		{name: "suffix is no range", method: "GET", path: "/data/a/b.txt", header: hdr("Range", "bytes=-3"), status: 200, exact: x},
		{name: "put empty", method: "PUT", path: "/data/empty", header: block, status: 201},
		{name: "range of empty", method: "GET", path: "/data/empty", header: hdr("x-ms-range", "bytes=0-33554431"), status: 416, code: "InvalidRange"},
		{name: "wrong md5", method: "PUT", path: "/data/a/b.txt", body: "y", header: hdr("x-ms-blob-type", "BlockBlob", "Content-MD5", sum), status: 400, code: "Md5Mismatch"},
		{name: "wrong blob md5", method: "PUT", path: "/data/a/b.txt", body: "y", header: hdr("x-ms-blob-type", "BlockBlob", "x-ms-blob-content-md5", sum), status: 400, code: "Md5Mismatch"},
		{name: "no md5", method: "PUT", path: "/data/a/b.txt", body: "y", header: hdr("x-ms-blob-type", "BlockBlob", "Content-MD5", "x"), status: 400, code: "InvalidMd5"},
		{name: "crc64", method: "PUT", path: "/data/crc", body: "123456789", header: hdr("x-ms-blob-type", "BlockBlob", "x-ms-version", "2020-10-02", "x-ms-content-crc64", "iJh5CoYUi64="), status: 201, want: map[string]string{"x-ms-content-crc64": "iJh5CoYUi64="}},
		{name: "wrong crc64", method: "PUT", path: "/data/crc", body: "12345678", header: hdr("x-ms-blob-type", "BlockBlob", "x-ms-version", "2020-10-02", "x-ms-content-crc64", "iJh5CoYUi64="), status: 400, code: "Crc64Mismatch"},
		{name: "structured body", method: "PUT", path: "/data/crc", body: "12345678", header: hdr("x-ms-blob-type", "BlockBlob", "x-ms-structured-body", "XSM/1.0; properties=crc64"), status: 400, code: "UnsupportedHeader"},
		{name: "unchanged by refusals", method: "GET", path: "/data/a/b.txt", status: 200, exact: x},
		{name: "no type", method: "PUT", path: "/data/x", body: "y", status: 400, code: "MissingRequiredHeader", holds: []string{"<HeaderName>x-ms-blob-type</HeaderName>"}},
		{name: "page blob", method: "PUT", path: "/data/x", header: hdr("x-ms-blob-type", "PageBlob"), status: 409, code: "BlobTypeNotSupported"},
		{name: "odd type", method: "PUT", path: "/data/x", header: hdr("x-ms-blob-type", "RoundBlob"), status: 400, code: "InvalidHeaderValue"},
		{name: "absent", method: "GET", path: "/data/none", status: 404, code: "BlobNotFound"},
		{name: "absent head", method: "HEAD", path: "/data/none", status: 404, code: "BlobNotFound"},
		{name: "absent container", method: "GET", path: "/none/none", status: 404, code: "ContainerNotFound"},

		{name: "block a", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(a), body: "AA", status: 201},
		{name: "block b", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(b), body: "BB", status: 201},
		{name: "draft is not there", method: "GET", path: "/data/big", status: 404, code: "BlobNotFound"},
		{name: "block of other length", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(id64("aaaaa")), body: "AA", status: 400, code: "InvalidBlobOrBlock"},
		{name: "block without id", method: "PUT", path: "/data/big?comp=block", body: "AA", status: 400, code: "MissingRequiredQueryParameter"},
		{name: "block id not base64", method: "PUT", path: "/data/big?comp=block&blockid=%2A", body: "AA", status: 400, code: "InvalidQueryParameterValue"},
		{name: "empty block", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(c), status: 400, code: "InvalidHeaderValue"},
		{name: "uncommitted list", method: "GET", path: "/data/big?comp=blocklist&blocklisttype=all", status: 200, holds: []string{"<CommittedBlocks></CommittedBlocks>", "<UncommittedBlocks><Block><Name>" + a + "</Name><Size>2</Size></Block><Block><Name>" + b}},
		{name: "commit what is not there", method: "PUT", path: "/data/big?comp=blocklist", body: "<BlockList><Latest>" + c + "</Latest></BlockList>", status: 400, code: "InvalidBlockList"},
		{name: "commit odd mode", method: "PUT", path: "/data/big?comp=blocklist", body: "<BlockList><Newest>" + a + "</Newest></BlockList>", status: 400, code: "InvalidXmlDocument"},
		{name: "commit", method: "PUT", path: "/data/big?comp=blocklist", body: `<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>` + b + "</Latest><Uncommitted>" + a + "</Uncommitted></BlockList>", header: hdr("x-ms-blob-content-type", "text/csv", "Content-Type", "application/xml", "x-ms-meta-n", "1"), status: 201},
		{name: "committed", method: "GET", path: "/data/big", status: 200, exact: "BBAA", want: map[string]string{"Content-Type": "text/csv", "x-ms-meta-n": "1"}},
		{name: "range over blocks", method: "GET", path: "/data/big", header: hdr("Range", "bytes=1-2"), status: 206, exact: "BA"},
		{name: "block c", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(c), body: "CC", status: 201},
		{name: "block a anew", method: "PUT", path: "/data/big?comp=block&blockid=" + esc(a), body: "aa", status: 201},
		{name: "commit mixture", method: "PUT", path: "/data/big?comp=blocklist", body: "<BlockList><Committed>" + a + "</Committed><Latest>" + a + "</Latest><Latest>" + c + "</Latest><Committed>" + b + "</Committed></BlockList>", status: 201},
		{name: "mixture", method: "GET", path: "/data/big", status: 200, exact: "AAaaCCBB"},
		{name: "committed list", method: "GET", path: "/data/big?comp=blocklist", status: 200, holds: []string{"<BlockList><CommittedBlocks><Block><Name>" + a}, want: map[string]string{"x-ms-blob-content-length": "8"}},
		{name: "commit none", method: "PUT", path: "/data/big?comp=blocklist", body: "<BlockList></BlockList>", status: 201},
		{name: "nothing", method: "HEAD", path: "/data/big", status: 200, want: map[string]string{"Content-Length": "0"}},

		{name: "delete", method: "DELETE", path: "/data/a/b.txt", header: hdr("x-ms-delete-snapshots", "include"), status: 202},
		{name: "delete again", method: "DELETE", path: "/data/a/b.txt", status: 404, code: "BlobNotFound"},
		{name: "delete oddly", method: "DELETE", path: "/data/big", header: hdr("x-ms-delete-snapshots", "some"), status: 400, code: "InvalidHeaderValue"},
		{name: "snapshot", method: "PUT", path: "/data/big?comp=snapshot", status: 501, code: "NotImplemented"},
		{name: "lease", method: "PUT", path: "/data/big?comp=lease", status: 501, code: "NotImplemented"},
		{name: "of a snapshot", method: "GET", path: "/data/big?snapshot=2018-01-01T00:00:00.0000000Z", status: 404, code: "BlobNotFound"},
	})
}

func esc(s string) string { return strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(s) }

func TestAppendBlobs(t *testing.T) {
	w := newWorld(t)
	w.must(201, "PUT", "/data?restype=container", "", nil)
	put(t, w, "/data/block", "x")
	w.play(t, []exchange{
		{name: "append to nothing", method: "PUT", path: "/data/log?comp=appendblock", body: "x", status: 404, code: "BlobNotFound"},
		{name: "create", method: "PUT", path: "/data/log", header: hdr("x-ms-blob-type", "AppendBlob", "Content-Type", "text/plain"), status: 201},
		{name: "create with body", method: "PUT", path: "/data/log2", body: "x", header: hdr("x-ms-blob-type", "AppendBlob"), status: 400, code: "InvalidHeaderValue"},
		{name: "append", method: "PUT", path: "/data/log?comp=appendblock", body: "one\n", status: 201, want: map[string]string{"x-ms-blob-append-offset": "0", "x-ms-blob-committed-block-count": "1"}},
		{name: "append at", method: "PUT", path: "/data/log?comp=appendblock", body: "two\n", header: hdr("x-ms-blob-condition-appendpos", "4", "x-ms-blob-condition-maxsize", "8"), status: 201, want: map[string]string{"x-ms-blob-append-offset": "4"}},
		{name: "append elsewhere", method: "PUT", path: "/data/log?comp=appendblock", body: "x", header: hdr("x-ms-blob-condition-appendpos", "4"), status: 412, code: "AppendPositionConditionNotMet"},
		{name: "append too much", method: "PUT", path: "/data/log?comp=appendblock", body: "x", header: hdr("x-ms-blob-condition-maxsize", "8"), status: 412, code: "MaxBlobSizeConditionNotMet"},
		{name: "append at odd", method: "PUT", path: "/data/log?comp=appendblock", body: "x", header: hdr("x-ms-blob-condition-appendpos", "-1"), status: 400, code: "InvalidHeaderValue"},
		{name: "append wrong md5", method: "PUT", path: "/data/log?comp=appendblock", body: "x", header: hdr("Content-MD5", "eB5eJF1ptWaXm4bijSPyxw=="), status: 400, code: "Md5Mismatch"},
		{name: "append too large", method: "PUT", path: "/data/log?comp=appendblock", body: strings.Repeat("x", 4<<20+1), status: 413, code: "RequestBodyTooLarge"},
		{name: "append nothing", method: "PUT", path: "/data/log?comp=appendblock", status: 400, code: "InvalidHeaderValue"},
		{name: "append to a block blob", method: "PUT", path: "/data/block?comp=appendblock", body: "x", status: 409, code: "InvalidBlobType"},
		{name: "block to an append blob", method: "PUT", path: "/data/log?comp=block&blockid=" + esc(id64("a")), body: "x", status: 409, code: "InvalidBlobType"},
		{name: "get", method: "GET", path: "/data/log", status: 200, exact: "one\ntwo\n", want: map[string]string{"x-ms-blob-type": "AppendBlob", "x-ms-blob-committed-block-count": "2", "Content-Type": "text/plain"}},
		{name: "range", method: "GET", path: "/data/log", header: hdr("x-ms-range", "bytes=3-4"), status: 206, exact: "\nt"},
		{name: "set metadata", method: "PUT", path: "/data/log?comp=metadata", header: hdr("x-ms-meta-a", "1"), status: 200},
		{name: "append large", method: "PUT", path: "/data/log?comp=appendblock", body: strings.Repeat("z", 4<<20), status: 201, want: map[string]string{"x-ms-blob-append-offset": "8", "x-ms-blob-committed-block-count": "3"}},
		{name: "head", method: "HEAD", path: "/data/log", status: 200, want: map[string]string{"Content-Length": "4194312", "x-ms-meta-a": "1"}},
		{name: "in a list", method: "GET", path: "/data?restype=container&comp=list&prefix=log", status: 200, holds: []string{"<Content-Length>4194312</Content-Length>", "<BlobType>AppendBlob</BlobType>"}},
		{name: "copy", method: "PUT", path: "/data/copy", header: hdr("x-ms-copy-source", "https://lazuli.blob.core.windows.net/data/log"), status: 202},
		{name: "append to the copy", method: "PUT", path: "/data/copy?comp=appendblock", body: "!", status: 201, want: map[string]string{"x-ms-blob-append-offset": "4194312"}},
		{name: "source untouched", method: "HEAD", path: "/data/log", status: 200, want: map[string]string{"Content-Length": "4194312"}},
		{name: "create anew", method: "PUT", path: "/data/log", header: hdr("x-ms-blob-type", "AppendBlob"), status: 201},
		{name: "empty anew", method: "HEAD", path: "/data/log", status: 200, want: map[string]string{"Content-Length": "0", "x-ms-meta-a": "-"}},
	})
}
