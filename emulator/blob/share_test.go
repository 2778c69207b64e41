package blob_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// file sends a request to the File service, signed by the owner.
func (w *world) file(method, path, body string, h http.Header) answer {
	w.t.Helper()
	r := w.request(method, path, body, h)
	r.URL.Host = strings.TrimPrefix(w.files, "http://")
	r.Host = acct + ".file.core.windows.net"
	if r.Header.Get("x-ms-version") == "" {
		r.Header.Set("x-ms-version", "2018-03-28")
	}
	signShared(r, acct, w.keys[0], int64(len(body)), w.clock.Now())
	return w.send(r)
}

func TestShares(t *testing.T) {
	w := newWorld(t)
	file := func(n string) http.Header { return hdr("x-ms-type", "file", "x-ms-content-length", n) }
	update := func(at string) http.Header { return hdr("x-ms-range", at, "x-ms-write", "update") }
	for _, x := range []exchange{
		{name: "create share", method: "PUT", path: "/work?restype=share", header: hdr("x-ms-share-quota", "7", "x-ms-meta-a", "b"), status: 201},
		{name: "create share again", method: "PUT", path: "/work?restype=share", status: 409, code: "ShareAlreadyExists"},
		{name: "create share of odd quota", method: "PUT", path: "/odd?restype=share", header: hdr("x-ms-share-quota", "much"), status: 400, code: "InvalidHeaderValue"},
		{name: "share properties", method: "GET", path: "/work?restype=share", status: 200, want: map[string]string{"x-ms-share-quota": "7", "x-ms-meta-a": "b"}},
		{name: "set quota", method: "PUT", path: "/work?restype=share&comp=properties", header: hdr("x-ms-share-quota", "8"), status: 200},
		{name: "list shares", method: "GET", path: "/?comp=list&include=metadata", status: 200, holds: []string{"<Share><Name>work</Name>", "<Quota>8</Quota>", "<Metadata><a>b</a></Metadata>"}},
		{name: "absent share", method: "GET", path: "/none?restype=share", status: 404, code: "ShareNotFound"},
		{name: "service properties", method: "GET", path: "/?restype=service&comp=properties", status: 200, holds: []string{"<HourMetrics>"}},
		{name: "directory", method: "PUT", path: "/work/Dir?restype=directory", header: hdr("x-ms-meta-d", "1"), status: 201},
		{name: "directory again", method: "PUT", path: "/work/dir?restype=directory", status: 409, code: "ResourceAlreadyExists"},
		{name: "directory without parent", method: "PUT", path: "/work/x/y?restype=directory", status: 404, code: "ParentNotFound"},
		{name: "directory properties", method: "HEAD", path: "/work/dir?restype=directory", status: 200, want: map[string]string{"x-ms-meta-d": "1"}},
		{name: "absent directory", method: "HEAD", path: "/work/none?restype=directory", status: 404, code: "ResourceNotFound"},
		{name: "dots", method: "PUT", path: "/work/a%2F..%2Fb?restype=directory", status: 400, code: "InvalidUri"},
		{name: "odd characters", method: "PUT", path: "/work/a%3Ab?restype=directory", status: 400, code: "InvalidResourceName"},
		{name: "create file", method: "PUT", path: "/work/Dir/f.bin", header: file("10"), status: 201},
		{name: "create file without length", method: "PUT", path: "/work/g", header: hdr("x-ms-type", "file"), status: 400, code: "MissingRequiredHeader"},
		{name: "create file over a directory", method: "PUT", path: "/work/Dir", header: file("1"), status: 409, code: "ResourceTypeMismatch"},
		{name: "zeros", method: "GET", path: "/work/dir/F.BIN", status: 200, exact: strings.Repeat("\x00", 10)},
		{name: "put range", method: "PUT", path: "/work/Dir/f.bin?comp=range", body: "abcd", header: update("bytes=2-5"), status: 201},
		{name: "put range past the end", method: "PUT", path: "/work/Dir/f.bin?comp=range", body: "abcd", header: update("bytes=8-11"), status: 416, code: "InvalidRange"},
		{name: "put range of other length", method: "PUT", path: "/work/Dir/f.bin?comp=range", body: "abc", header: update("bytes=2-5"), status: 400, code: "InvalidHeaderValue"},
		{name: "put range wrong md5", method: "PUT", path: "/work/Dir/f.bin?comp=range", body: "abcd", header: hdr("x-ms-range", "bytes=2-5", "x-ms-write", "update", "Content-MD5", "eB5eJF1ptWaXm4bijSPyxw=="), status: 400, code: "Md5Mismatch"},
		{name: "put range without write", method: "PUT", path: "/work/Dir/f.bin?comp=range", body: "abcd", header: hdr("x-ms-range", "bytes=2-5"), status: 400, code: "MissingRequiredHeader"},
		{name: "get", method: "GET", path: "/work/Dir/f.bin", status: 200, exact: "\x00\x00abcd\x00\x00\x00\x00", want: map[string]string{"x-ms-type": "File", "Content-Type": "application/octet-stream"}},
		{name: "get range", method: "GET", path: "/work/Dir/f.bin", header: hdr("x-ms-range", "bytes=3-4"), status: 206, exact: "bc"},
		{name: "ranges", method: "GET", path: "/work/Dir/f.bin?comp=rangelist", status: 200, holds: []string{"<Ranges><Range><Start>2</Start><End>5</End></Range></Ranges>"}},
		{name: "clear", method: "PUT", path: "/work/Dir/f.bin?comp=range", header: hdr("x-ms-range", "bytes=3-3", "x-ms-write", "clear"), status: 201},
		{name: "ranges after clear", method: "GET", path: "/work/Dir/f.bin?comp=rangelist", status: 200, holds: []string{"<Start>2</Start><End>2</End>", "<Start>4</Start><End>5</End>"}},
		{name: "cleared", method: "GET", path: "/work/Dir/f.bin", status: 200, exact: "\x00\x00a\x00cd\x00\x00\x00\x00"},
		{name: "stats", method: "GET", path: "/work?restype=share&comp=stats", status: 200, holds: []string{"<ShareUsage>1</ShareUsage><ShareUsageBytes>3</ShareUsageBytes>"}},
		{name: "set properties", method: "PUT", path: "/work/Dir/f.bin?comp=properties", header: hdr("x-ms-content-length", "4", "x-ms-content-type", "text/x"), status: 200},
		{name: "set metadata", method: "PUT", path: "/work/Dir/f.bin?comp=metadata", header: hdr("x-ms-meta-k", "v"), status: 200},
		{name: "head", method: "HEAD", path: "/work/Dir/f.bin", status: 200, want: map[string]string{"Content-Length": "4", "Content-Type": "text/x", "x-ms-meta-k": "v"}},
		{name: "list root", method: "GET", path: "/work?restype=directory&comp=list", status: 200, holds: []string{`ShareName="work"`, "<Directory><Name>Dir</Name>"}},
		{name: "list directory", method: "GET", path: "/work/dir?restype=directory&comp=list", status: 200, holds: []string{"<File><Name>f.bin</Name><Properties><Content-Length>4</Content-Length>"}},
		{name: "list by prefix", method: "GET", path: "/work/dir?restype=directory&comp=list&prefix=z", status: 200, holds: []string{"<Entries></Entries>"}},
		{name: "list absent", method: "GET", path: "/work/none?restype=directory&comp=list", status: 404, code: "ResourceNotFound"},
		{name: "delete full directory", method: "DELETE", path: "/work/Dir?restype=directory", status: 409, code: "DirectoryNotEmpty"},
		{name: "delete file", method: "DELETE", path: "/work/Dir/F.bin", status: 202},
		{name: "delete file again", method: "DELETE", path: "/work/Dir/F.bin", status: 404, code: "ResourceNotFound"},
		{name: "delete directory", method: "DELETE", path: "/work/Dir?restype=directory", status: 202},
		{name: "copy", method: "PUT", path: "/work/c", header: hdr("x-ms-copy-source", "https://x/y"), status: 501, code: "NotImplemented"},
		{name: "delete share", method: "DELETE", path: "/work?restype=share", status: 202},
		{name: "gone", method: "GET", path: "/work?restype=directory&comp=list", status: 404, code: "ShareNotFound"},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := w.file(x.method, x.path, x.body, x.header)
			if a.status != x.status || a.code() != x.code || x.exact != "" && a.body != x.exact {
				t.Fatalf("%s %s = %d %s, want %d %s\n%s", x.method, x.path, a.status, a.code(), x.status, x.code, a.body)
			}
			for name, v := range x.want {
				if got := a.header.Get(name); got != v {
					t.Errorf("header %s = %q, want %q", name, got, v)
				}
			}
			for _, s := range x.holds {
				if !strings.Contains(a.body, s) {
					t.Errorf("body lacks %q:\n%s", s, a.body)
				}
			}
		})
	}
}

// TestShareClients drives the File clients of 2018 and of today.
func TestShareClients(t *testing.T) {
	for variable, script := range map[string]string{"LAZULITE_SDK2018": share2018, "LAZULITE_STORAGE12": share12} {
		t.Run(variable, func(t *testing.T) {
			w := newWorld(t, realTime)
			if err := w.s.EnsureShare(context.Background(), acct, "ready"); err != nil {
				t.Fatal(err)
			}
			python(t, variable, script, strings.TrimPrefix(w.files, "http://"), w.keys[0])
		})
	}
}

const share2018 = `
import datetime, os, sys, tempfile
from azureml._vendor.azure_storage.file import FileService, SharePermissions, ContentSettings
hostport, key = sys.argv[1], sys.argv[2]
def service(**kw):
    s = FileService(account_name='lazuli', protocol='http', **kw)
    s.primary_endpoint = hostport + '/lazuli'
    return s
s = service(account_key=key)
assert s.create_share('work') and s.exists('work') and not s.exists('none')
assert [x.name for x in s.list_shares()] == ['ready', 'work']
assert s.create_directory('work', 'd') and s.create_directory('work', 'd/e \u00fc')
assert s.exists('work', 'd') and not s.exists('work', 'x')
big = os.urandom(9 * 1024 * 1024 + 5)
f = os.path.join(tempfile.mkdtemp(), 'big'); open(f, 'wb').write(big)
s.create_file_from_path('work', 'd/e \u00fc', 'big \u00fc.bin', f, content_settings=ContentSettings(content_type='text/x'))
assert s.exists('work', 'd/e \u00fc', 'big \u00fc.bin')
s.get_file_to_path('work', 'd/e \u00fc', 'big \u00fc.bin', f + '2'); assert open(f + '2', 'rb').read() == big
s.create_file_from_text('work', None, 'root.txt', 'hello')
assert s.get_file_to_text('work', None, 'root.txt').content == 'hello'
assert sorted((type(x).__name__, x.name) for x in s.list_directories_and_files('work')) == [('Directory', 'd'), ('File', 'root.txt')]
assert s.get_file_properties('work', 'd/e \u00fc', 'big \u00fc.bin').properties.content_length == len(big)
tok = s.generate_share_shared_access_signature('work', SharePermissions(read=True, list=True), datetime.datetime.utcnow() + datetime.timedelta(hours=1))
r = service(sas_token=tok)
assert r.get_file_to_text('work', None, 'root.txt').content == 'hello' and len(list(r.list_directories_and_files('work'))) == 2
s.delete_file('work', None, 'root.txt'); assert not s.exists('work', None, 'root.txt')
s.delete_share('work')
print('all good')
`

const share12 = `
import datetime, os, sys
from azure.storage.fileshare import *
from azure.core.exceptions import *
hostport, key = sys.argv[1], sys.argv[2]
url = 'http://%s/lazuli' % hostport
svc = ShareServiceClient(url, credential={'account_name': 'lazuli', 'account_key': key}, retry_total=0)
s = svc.create_share('work'); assert [x.name for x in svc.list_shares()] == ['ready', 'work']
d = s.create_directory('d')
big = os.urandom(9 * 1024 * 1024 + 5)
f = d.upload_file('big \u00fc.bin', big)
assert f.download_file().readall() == big and f.get_file_properties().size == len(big)
assert [(x['name'], x['is_directory']) for x in s.list_directories_and_files('d')] == [('big \u00fc.bin', False)]
assert f.get_ranges() == [{'start': 0, 'end': len(big) - 1}]
tok = generate_share_sas('lazuli', 'work', key, permission='rl', expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))
r = ShareClient(url, 'work', credential=tok); assert r.get_file_client('d/big \u00fc.bin').download_file(offset=1, length=4).readall() == big[1:5]
assert d.exists() and f.exists() and not s.get_file_client('none').exists()
f.resize_file(3); assert f.download_file().readall() == big[:3]
f.delete_file(); d.delete_directory(); s.delete_share()
print('all good')
`
