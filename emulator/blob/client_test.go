package blob_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/clock"
)

// python runs a script with an interpreter of a venv that an environment
// variable names, and fails the test with what it prints unless it exits 0.
func python(t *testing.T, variable, script string, args ...string) {
	t.Helper()
	venv := os.Getenv(variable)
	if venv == "" {
		t.Skipf("%s does not name a venv with the client", variable)
	}
	file := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(venv, "bin", "python"), append([]string{file}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all good") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func realTime(c *blob.Config) { c.Clock = clock.Real() }

// TestClient2018 drives azure-storage-blob 1.x and the azureml SDK's own copy of it.
func TestClient2018(t *testing.T) {
	for _, module := range []string{"azure.storage", "azureml._vendor.azure_storage"} {
		t.Run(module, func(t *testing.T) {
			w := newWorld(t, realTime)
			python(t, "LAZULITE_SDK2018", strings.ReplaceAll(client2018, "MODULE", module), strings.TrimPrefix(w.url, "http://"), w.keys[0])
		})
	}
}

// TestClient12 drives azure-storage-blob 12.x.
func TestClient12(t *testing.T) {
	w := newWorld(t, realTime)
	python(t, "LAZULITE_STORAGE12", client12, strings.TrimPrefix(w.url, "http://"), w.keys[0])
}

const client2018 = `
import datetime, io, os, sys, tempfile, urllib.parse
from MODULE.blob import BlockBlobService, AppendBlobService, BlobPermissions, ContainerPermissions, ContentSettings, PublicAccess, BlobBlock
from MODULE.common import AccessPolicy, CloudStorageAccount, AccountPermissions, ResourceTypes, Services
from azure.common import AzureMissingResourceHttpError, AzureConflictHttpError, AzureHttpError
hostport, key = sys.argv[1], sys.argv[2]

def service(cls, **kw):
    s = cls(account_name='lazuli', protocol='http', **kw)
    s.primary_endpoint = hostport + '/lazuli'
    if s._httpclient.session is not None: s._httpclient.session.trust_env = False
    return s

s = service(BlockBlobService, account_key=key)
assert s.create_container('data', metadata={'a': 'b'}) is True
assert s.create_container('data') is False
assert s.exists('data') and not s.exists('none')
assert s.get_container_metadata('data') == {'a': 'b'}
assert [c.name for c in s.list_containers(include_metadata=True)] == ['data']

s.create_blob_from_text('data', 'hello.txt', 'h\u00e9llo', content_settings=ContentSettings(content_type='text/plain', cache_control='x'), metadata={'k': 'v'}, validate_content=True)
assert s.get_blob_to_text('data', 'hello.txt').content == 'h\u00e9llo'
b = s.get_blob_properties('data', 'hello.txt')
assert b.properties.content_settings.content_type == 'text/plain' and b.metadata == {'k': 'v'} and b.properties.blob_type == 'BlockBlob', vars(b.properties)
s.create_blob_from_bytes('data', 'empty', b'')
assert s.get_blob_to_bytes('data', 'empty').content == b''

big = os.urandom(9 * 1024 * 1024 + 7)
s.MAX_SINGLE_PUT_SIZE = 4 * 1024 * 1024
s.MAX_BLOCK_SIZE = 1024 * 1024
s.MAX_SINGLE_GET_SIZE = 2 * 1024 * 1024
s.MAX_CHUNK_GET_SIZE = 1024 * 1024
s.create_blob_from_bytes('data', 'dir/big \u00fc%+#?.bin', big, max_connections=2)
assert s.get_blob_to_bytes('data', 'dir/big \u00fc%+#?.bin', max_connections=2, validate_content=True).content == big
s.create_blob_from_stream('data', 'dir/stream', io.BytesIO(b'tiny'))
assert len(s.get_block_list('data', 'dir/stream', block_list_type='all').committed_blocks) == 1
f = os.path.join(tempfile.mkdtemp(), 'f')
s.get_blob_to_path('data', 'dir/stream', f)
assert open(f, 'rb').read() == b'tiny'
s.put_block('data', 'blocks', b'abc', '1'); s.put_block('data', 'blocks', b'def', '2')
s.put_block_list('data', 'blocks', [BlobBlock(id='2'), BlobBlock(id='1')])
assert s.get_blob_to_bytes('data', 'blocks').content == b'defabc'
assert s.get_blob_to_bytes('data', 'blocks', start_range=1, end_range=3).content == b'efa'

for i in range(12): s.create_blob_from_text('data', 'many/%02d' % i, 'x')
assert [x.name for x in s.list_blobs('data', prefix='many/')] == ['many/%02d' % i for i in range(12)]
page = s.list_blobs('data', prefix='many/', num_results=5)
assert len(list(page)) == 5 and page.next_marker
assert len(list(s.list_blobs('data', prefix='many/', marker=page.next_marker))) == 7
assert sorted(x.name for x in s.list_blobs('data', delimiter='/')) == ['blocks', 'dir/', 'empty', 'hello.txt', 'many/']
assert 'dir/big \u00fc%+#?.bin' in [x.name for x in s.list_blobs('data')]

s.set_blob_metadata('data', 'hello.txt', {'n': '1'}); assert s.get_blob_metadata('data', 'hello.txt') == {'n': '1'}
s.set_blob_properties('data', 'hello.txt', ContentSettings(content_type='text/x'))
assert s.get_blob_properties('data', 'hello.txt').properties.content_settings.content_type == 'text/x'
c = s.copy_blob('data', 'copied', s.make_blob_url('data', urllib.parse.quote('dir/big \u00fc%+#?.bin')))
assert c.status == 'success', vars(c)
assert s.get_blob_to_bytes('data', 'copied').content == big
etag = s.get_blob_properties('data', 'hello.txt').properties.etag
try: s.create_blob_from_text('data', 'hello.txt', 'x', if_none_match='*'); assert False
except AzureConflictHttpError as e: assert e.error_code == 'BlobAlreadyExists'
s.create_blob_from_text('data', 'hello.txt', 'x', if_match=etag)
try: s.create_blob_from_text('data', 'hello.txt', 'x', if_match=etag); assert False
except AzureHttpError as e: assert e.status_code == 412 and e.error_code == 'ConditionNotMet'
try: s.get_blob_to_bytes('data', 'none'); assert False
except AzureMissingResourceHttpError as e: assert e.error_code == 'BlobNotFound', e.error_code
s.delete_blob('data', 'copied'); assert not s.exists('data', 'copied')

now = datetime.datetime.utcnow(); soon = now + datetime.timedelta(hours=1)
tok = s.generate_blob_shared_access_signature('data', 'hello.txt', BlobPermissions.READ, soon, content_type='text/css')
r = service(BlockBlobService, sas_token=tok)
x = r.get_blob_to_bytes('data', 'hello.txt'); assert x.content == b'x' and x.properties.content_settings.content_type == 'text/css'
try: r.delete_blob('data', 'hello.txt'); assert False
except AzureHttpError as e: assert e.status_code == 403 and e.error_code == 'AuthorizationPermissionMismatch', e.error_code
tok = s.generate_container_shared_access_signature('data', ContainerPermissions(read=True, list=True, write=True), soon, start=now - datetime.timedelta(minutes=5))
r = service(BlockBlobService, sas_token=tok)
r.create_blob_from_stream('data', 'by/sas', io.BytesIO(b'sas'))
assert 'by/sas' in [x.name for x in r.list_blobs('data')]
s.set_container_acl('data', {'p': AccessPolicy(ContainerPermissions(list=True), soon)}, public_access=PublicAccess.Blob)
assert 'p' in s.get_container_acl('data')
r = service(BlockBlobService, sas_token=s.generate_container_shared_access_signature('data', id='p'))
assert len(list(r.list_blobs('data'))) > 10
tok = s.generate_account_shared_access_signature(ResourceTypes(True, True, True), AccountPermissions(read=True, list=True), soon)
r = service(BlockBlobService, sas_token=tok)
assert [c.name for c in r.list_containers()] == ['data'] and r.get_blob_to_bytes('data', 'by/sas').content == b'sas'
old = s.generate_blob_shared_access_signature('data', 'hello.txt', BlobPermissions.READ, now - datetime.timedelta(minutes=1))
try: service(BlockBlobService, sas_token=old).get_blob_to_bytes('data', 'hello.txt'); assert False
except AzureHttpError as e: assert e.status_code == 403 and 'Signature not valid in the specified time frame' in str(e), e

a = service(AppendBlobService, account_key=key)
a.create_blob('data', 'log')
assert a.append_block('data', 'log', b'one').append_offset == 0
a.append_blob_from_text('data', 'log', 'two')
a.append_blob_from_bytes('data', 'log', big)
assert a.get_blob_to_bytes('data', 'log').content == b'onetwo' + big
assert a.get_blob_properties('data', 'log').properties.append_blob_committed_block_count >= 3
info = s.get_blob_service_properties(); assert info.logging.version == '1.0'
if hasattr(s, 'get_blob_account_information'): assert s.get_blob_account_information().sku_name == 'Standard_LRS'
try: service(BlockBlobService, account_key='AAAA').exists('data', 'log'); assert False
except AzureHttpError as e: assert e.status_code == 403
s.delete_container('data'); assert not s.exists('data')
print('all good')
`

const client12 = `
import datetime, os, sys
from azure.storage.blob import *
from azure.core.exceptions import *
from azure.core import MatchConditions
hostport, key = sys.argv[1], sys.argv[2]
url = 'http://%s/lazuli' % hostport
svc = BlobServiceClient.from_connection_string('DefaultEndpointsProtocol=http;AccountName=lazuli;AccountKey=%s;BlobEndpoint=%s;' % (key, url),
    max_single_put_size=1024*1024, max_block_size=1024*1024, max_single_get_size=1024*1024, max_chunk_get_size=1024*1024, retry_total=0)
assert svc.get_account_information()['sku_name'] == 'Standard_LRS'
svc.set_service_properties(cors=[CorsRule(['*'], ['GET'])])
assert len(svc.get_service_properties()['cors']) == 1
c = svc.create_container('data', metadata={'a': 'b'})
try: svc.create_container('data'); assert False
except ResourceExistsError as e: assert e.error_code == 'ContainerAlreadyExists'
assert c.exists() and c.get_container_properties().metadata == {'a': 'b'}
big = os.urandom(5 * 1024 * 1024 + 3)
b = c.upload_blob('dir/big \u00fc%+#?.bin', big, overwrite=True, max_concurrency=2, metadata={'k_v': 'w', 'k': 'z', 'ka': '1'}, content_settings=ContentSettings(content_type='text/x'))
assert b.download_blob(max_concurrency=2, validate_content=True).readall() == big
assert b.download_blob(offset=5, length=10).readall() == big[5:15]
p = b.get_blob_properties(); assert p.size == len(big) and p.metadata['k_v'] == 'w' and p.content_settings.content_type == 'text/x' and p.blob_tier == 'Hot', p
c.upload_blob('empty', b'')
assert c.download_blob('empty').readall() == b''
try: c.upload_blob('empty', b'x'); assert False
except ResourceExistsError as e: assert e.error_code == 'BlobAlreadyExists'
c.upload_blob('small', b'hello', validate_content=True)
for i in range(7): c.upload_blob('many/%d' % i, b'x')
assert [x.name for x in c.list_blobs(name_starts_with='many/', results_per_page=3)] == ['many/%d' % i for i in range(7)]
assert sorted(x.name for x in c.walk_blobs()) == ['dir/', 'empty', 'many/', 'small']
assert list(c.list_blob_names(name_starts_with='dir')) == ['dir/big \u00fc%+#?.bin']
assert [x.metadata for x in c.list_blobs(name_starts_with='dir', include=['metadata', 'snapshots', 'uncommittedblobs', 'tags', 'copy'])][0]['k'] == 'z'
s = c.get_blob_client('small')
s.set_blob_metadata({'n': '1'}); s.set_http_headers(ContentSettings(content_type='text/y')); s.set_standard_blob_tier('Cool')
p = s.get_blob_properties(); assert p.metadata == {'n': '1'} and p.content_settings.content_type == 'text/y' and p.blob_tier == 'Cool'
k = c.get_blob_client('blocks'); k.stage_block('MQ==', b'abc'); k.stage_block('Mg==', b'def')
assert len(k.get_block_list('all')[1]) == 2
k.commit_block_list([BlobBlock('Mg=='), BlobBlock('MQ==')]); assert k.download_blob().readall() == b'defabc'
d = c.get_blob_client('copied'); assert d.start_copy_from_url(b.url)['copy_status'] == 'success'
assert d.download_blob().readall() == big and d.get_blob_properties().copy.status == 'success'
try: s.download_blob(etag='"0x1"', match_condition=MatchConditions.IfNotModified); assert False
except ResourceModifiedError as e: assert e.error_code == 'ConditionNotMet'
l = c.get_blob_client('log'); l.create_append_blob(); l.append_block(b'one'); l.append_block(b'two', appendpos_condition=3)
c.upload_blob('log', big, blob_type='AppendBlob')
assert l.download_blob().readall() == b'onetwo' + big
try: l.append_block(b'x', appendpos_condition=3); assert False
except HttpResponseError as e: assert e.error_code == 'AppendPositionConditionNotMet' and e.status_code == 412
soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
tok = generate_blob_sas('lazuli', 'data', 'small', account_key=key, permission='r', expiry=soon)
r = BlobClient(url, 'data', 'small', credential=tok, retry_total=0); assert r.download_blob().readall() == b'hello'
try: r.delete_blob(); assert False
except HttpResponseError as e: assert e.error_code == 'AuthorizationPermissionMismatch'
d2 = c.get_blob_client('from-url'); d2.upload_blob_from_url(r.url); assert d2.download_blob().readall() == b'hello'
k2 = c.get_blob_client('block-from-url'); k2.stage_block_from_url('MQ==', r.url, source_offset=1, source_length=3); k2.commit_block_list([BlobBlock('MQ==')]); assert k2.download_blob().readall() == b'ell'
tok = generate_container_sas('lazuli', 'data', key, permission='rwl', expiry=soon)
r = ContainerClient(url, 'data', credential=tok, retry_total=0); r.upload_blob('by/sas', b'1'); assert 'by/sas' in list(r.list_blob_names())
tok = generate_account_sas('lazuli', key, resource_types='sco', permission='rl', expiry=soon)
assert [x.name for x in BlobServiceClient(url, credential=tok).list_containers(include_metadata=True)] == ['data']
c.set_container_access_policy({'p': AccessPolicy('rl', soon)}, public_access='container')
assert c.get_container_access_policy()['public_access'] == 'container'
assert BlobClient(url, 'data', 'small').download_blob().readall() == b'hello'
tok = generate_container_sas('lazuli', 'data', key, policy_id='p')
assert len(list(ContainerClient(url, 'data', credential=tok).list_blobs())) > 5
try: BlobServiceClient(url, credential='AAAA', retry_total=0).get_service_properties(); assert False
except HttpResponseError as e: assert e.status_code == 403 or e.status_code == 400
b.delete_blob(delete_snapshots='include'); assert not b.exists()
c.delete_container(); assert not c.exists()
print('all good')
`
