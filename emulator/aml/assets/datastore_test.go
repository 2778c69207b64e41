package assets_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const stores = "/datastore/v1.0/{WS}/datastores"

func blobStore(name string, more ...string) string {
	sec := map[string]any{"accountName": "wsstorage", "containerName": "data", "credentialType": "None"}
	for i := 0; i < len(more); i += 2 {
		sec[more[i]] = more[i+1]
		if more[i+1] == "" {
			delete(sec, more[i])
		}
	}
	b, err := json.Marshal(map[string]any{"name": name, "dataStoreType": "AzureBlob", "azureStorageSection": sec})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDatastoreExchanges(t *testing.T) {
	b := newBench(t)
	keys, err := b.blobs.Keys(t.Context(), "wsstorage")
	if err != nil {
		t.Fatal(err)
	}
	container := "azureml-blobstore-" + workspace.GUID
	lake := `{"name":"lake","dataStoreType":"AzureDataLake","azureDataLakeSection":{"storeName":"s","tenantId":"t","clientId":"c","clientSecret":"hush","isCertAuth":false}}`
	elsewhere := blobStore("far", "accountName", "faraway", "credentialType", "AccountKey", "credential", "a2V5")
	rows := []exchange{
		{"default", "GET", "/datastore/v1.0/{WS}/default", "", 200, []string{`"name":"workspaceblobstore"`, `"dataStoreType":"AzureBlob"`,
			`"accountName":"wsstorage"`, container, `"endpoint":"core.windows.net"`, `"protocol":"https"`, `"accountKey":"` + keys[0] + `"`, `"credentialType":"AccountKey"`, `"isSas":false`}, nil},
		{"file store", "GET", stores + "/workspacefilestore", "", 200, []string{`"dataStoreType":"AzureFile"`, "azureml-filestore-" + workspace.GUID}, nil},
		{"list has no secrets", "GET", stores, "", 200, []string{`"workspaceblobstore"`, `"workspacefilestore"`, `"continuationToken":null`, `"count":2`}, []string{keys[0]}},
		{"container is absent", "POST", stores, blobStore("mine", "credentialType", "AccountKey", "credential", keys[0]), 400, []string{"data", "createIfNotExists"}, nil},
		{"create", "POST", stores + "?createIfNotExists=true", blobStore("mine", "credentialType", "AccountKey", "credential", keys[0]), 200, nil, nil},
		{"duplicate is a 400", "POST", stores, blobStore("MINE"), 400, []string{"already exists", `"target":"name"`}, nil},
		{"get in any case", "GET", stores + "/Mine", "", 200, []string{`"name":"mine"`, `"containerName":"data"`, `"accountKey":"` + keys[0] + `"`}, nil},
		{"create with a SAS", "POST", stores + "?createIfNotExists=False", blobStore("sas", "credentialType", "sas", "credential", "?sv=1&sig=s"), 200, nil, nil},
		{"get it", "GET", stores + "/sas", "", 200, []string{`"sasToken":"?sv=1\u0026sig=s"`, `"isSas":true`, `"accountKey":null`, `"credentialType":"Sas"`}, nil},
		{"update", "PUT", stores + "/sas", blobStore("sas", "credentialType", "Sas", "credential", "sig=new"), 200, nil, nil},
		{"get it updated", "GET", stores + "/sas", "", 200, []string{`"sasToken":"sig=new"`}, nil},
		{"create in an account elsewhere", "POST", stores, elsewhere, 200, nil, nil},
		{"create a lake", "POST", stores, lake, 200, nil, nil},
		{"get the lake", "GET", stores + "/lake", "", 200, []string{`"storeName":"s"`, `"clientSecret":"hush"`, `"azureStorageSection":null`}, nil},
		{"lists hide its secret", "GET", stores + "?dataStoreNames=lake,sas", "", 200, []string{`"lake"`, `"sas"`, `"count":2`}, []string{"hush", "sig=new"}},
		{"set default", "PUT", "/datastore/v1.0/{WS}/default/SAS", "", 200, nil, nil},
		{"new default", "GET", "/datastore/v1.0/{WS}/default", "", 200, []string{`"name":"sas"`}, nil},
		{"delete", "DELETE", stores + "/sas", "", 200, nil, nil},

		{"default is gone with it", "GET", "/datastore/v1.0/{WS}/default", "", 404, []string{"sas"}, nil},
		{"unknown", "GET", stores + "/none", "", 404, []string{"none"}, nil},
		{"delete unknown", "DELETE", stores + "/none", "", 404, []string{"none"}, nil},
		{"the fault of an update comes first", "PUT", stores + "/none", blobStore("none", "containerName", "absent"), 400, []string{"absent"}, nil},
		{"update unknown", "PUT", stores + "/none", blobStore("none"), 404, []string{"none"}, nil},
		{"default unknown", "PUT", "/datastore/v1.0/{WS}/default/none", "", 404, []string{"none"}, nil},
		{"other name in the body", "PUT", stores + "/mine", blobStore("yours"), 400, []string{`"target":"name"`}, nil},
		{"bad name", "POST", stores, blobStore("my-store"), 400, []string{"my-store", `"target":"name"`}, nil},
		{"no name", "POST", stores, blobStore(""), 400, []string{`"target":"name"`}, nil},
		{"unknown type", "POST", stores, `{"name":"x","dataStoreType":"Floppy"}`, 400, []string{"Floppy", `"target":"dataStoreType"`}, nil},
		{"no type", "POST", stores, `{"name":"x"}`, 400, []string{`"target":"dataStoreType"`}, nil},
		{"no section", "POST", stores, `{"name":"x","dataStoreType":"AzureFile"}`, 400, []string{`"target":"azureStorageSection"`}, nil},
		{"no lake section", "POST", stores, `{"name":"x","dataStoreType":"AzureDataLake"}`, 400, []string{`"target":"azureDataLakeSection"`}, nil},
		{"lake without secret", "POST", stores, strings.Replace(lake, "hush", "", 1), 400, []string{"azureDataLakeSection.clientSecret"}, nil},
		{"no account", "POST", stores, blobStore("x", "accountName", ""), 400, []string{"azureStorageSection.accountName"}, nil},
		{"bad account", "POST", stores, blobStore("x", "accountName", "No.Such"), 400, []string{"No.Such"}, nil},
		{"no container", "POST", stores, blobStore("x", "containerName", ""), 400, []string{"azureStorageSection.containerName"}, nil},
		{"bad container", "POST", stores, blobStore("x", "containerName", "a--b"), 400, []string{"azureStorageSection.containerName"}, nil},
		{"bad protocol", "POST", stores, blobStore("x", "protocol", "ftp"), 400, []string{"azureStorageSection.protocol"}, nil},
		{"bad credential type", "POST", stores, blobStore("x", "credentialType", "Password"), 400, []string{"azureStorageSection.credentialType"}, nil},
		{"no credential", "POST", stores, blobStore("x", "credentialType", "Sas"), 400, []string{"azureStorageSection.credential"}, nil},
		{"key is not base64", "POST", stores, blobStore("x", "credentialType", "AccountKey", "credential", "!!"), 400, []string{"base64"}, nil},
		{"key of nobody", "POST", stores, blobStore("x", "credentialType", "AccountKey", "credential", "d3Jvbmc="), 400, []string{"azureStorageSection.credential"}, []string{"d3Jvbmc="}},
		{"create a container by a SAS", "POST", stores + "?createIfNotExists=true", blobStore("x", "containerName", "fresh", "credentialType", "Sas", "credential", "sig=x"), 400, []string{"account key"}, nil},
		{"createIfNotExists is no boolean", "POST", stores + "?createIfNotExists=7", blobStore("x"), 400, []string{"createIfNotExists"}, nil},
		{"wrong type", "POST", stores, `{"name":7}`, 400, []string{`"target":"name"`}, nil},
		{"bad count", "GET", stores + "?count=0", "", 400, []string{`"target":"count"`}, nil},
		{"delete all", "DELETE", stores, "", 200, nil, nil},
		{"none is left", "GET", stores, "", 200, []string{`"value":[]`}, nil},
	}
	b.run(rows)

	// A datastore that its user removed does not come back with the next start.
	if err := b.svc.Provision(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
	b.want(404, "GET", stores+"/workspaceblobstore", "", nil)
}

func TestDatastoreListPages(t *testing.T) {
	b := newBench(t)
	for _, n := range []string{"aa", "bb", "Zz"} {
		b.want(200, "POST", stores, blobStore(n, "accountName", "faraway"), nil)
	}
	var names []string
	token := ""
	for range 10 {
		var page struct {
			Value             []struct{ Name string }
			ContinuationToken *string
		}
		b.want(200, "GET", stores+"?count=2&continuationToken="+token, "", &page)
		for _, v := range page.Value {
			names = append(names, v.Name)
		}
		if page.ContinuationToken == nil {
			break
		}
		token = *page.ContinuationToken
	}
	if got := strings.Join(names, " "); got != "aa bb workspaceblobstore workspacefilestore Zz" {
		t.Fatal(got)
	}
}

func TestDatastoreForControlScripts(t *testing.T) {
	b := newBench(t)
	expiry := time.Date(2018, 10, 11, 0, 0, 0, 0, time.UTC)
	b.want(200, "POST", stores, blobStore("far", "accountName", "faraway", "credentialType", "AccountKey", "accountKey", "a2V5"), nil)
	b.want(200, "POST", stores, blobStore("farsas", "accountName", "faraway", "credentialType", "Sas", "sasToken", "?sig=abc", "endpoint", "core.chinacloudapi.cn"), nil)
	for name, want := range map[string]string{
		"WorkspaceBlobStore": "https://wsstorage.blob.core.windows.net/azureml-blobstore-" + workspace.GUID + "?sv=2018-03-28&sp=rwdl&se=2018-10-11T00:00:00Z&sig=good",
		"workspacefilestore": "",
		// The signature was made independently, with openssl.
		"far":    "https://faraway.blob.core.windows.net/data?se=2018-10-11T00%3A00%3A00Z&sig=DazxeI7ZAXDXoqFzAAOmEcmT10OG5TjiJ1p2Oe24wEI%3D&sp=rwdl&sr=c&sv=2018-03-28",
		"farsas": "https://faraway.blob.core.chinacloudapi.cn/data?sig=abc",
	} {
		d, err := b.svc.Datastore(t.Context(), workspace, name, expiry)
		if err != nil || d.ContainerURL != want || !strings.EqualFold(d.Name, name) || d.ContainerName == "" {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
	if _, err := b.svc.Datastore(t.Context(), workspace, "none", expiry); !isStatus(err, 404) {
		t.Fatal(err)
	}
}

func TestSecrets(t *testing.T) {
	b := newBench(t)
	const at = "/credential/v1.0/{WS}/secrets"
	b.run([]exchange{
		{"put", "PUT", at, `{"Name":"box#user name#ab/12","Value":"pass word"}`, 200, nil, []string{"pass word"}},
		{"get", "GET", at + "/box%23user+name%23ab%2F12", "", 200, []string{`"value":"pass word"`}, nil},
		{"put again", "PUT", at, `{"Name":"box#user name#ab/12","Value":"new"}`, 200, nil, nil},
		{"get again", "GET", at + "/box%23user%20name%23ab%2F12", "", 200, []string{`"value":"new"`}, nil},
		{"no name", "PUT", at, `{"Value":"x"}`, 400, []string{`"target":"Name"`}, nil},
		{"no value", "PUT", at, `{"Name":"x"}`, 400, []string{`"target":"Value"`}, nil},
		{"too long", "PUT", at, `{"Name":"x","Value":"` + strings.Repeat("s", 30000) + `"}`, 400, []string{`"target":"Value"`}, []string{"sss"}},
		{"wrong type", "PUT", at, `{"Name":"x","Value":{"a":1}}`, 400, []string{"Value"}, nil},
		{"unknown", "GET", at + "/none", "", 404, []string{"none"}, nil},
		{"delete unknown", "DELETE", at + "/none", "", 404, []string{"none"}, nil},
	})
	if v, err := b.svc.Secret(t.Context(), workspace, "box#user name#ab/12"); err != nil || v != "new" {
		t.Fatal(v, err)
	}
	if res := b.request("GET", at+"/box%23user+name%23ab%2F12", nil, http.Header{"Authorization": {"Bearer run"}}); res.StatusCode != 403 {
		t.Fatalf("a run's token opened a secret: %d", res.StatusCode)
	}
	if res := b.request("PUT", at, strings.NewReader(`{"Name":"n","Value":"v"}`), http.Header{"Authorization": {"Bearer run"}}); res.StatusCode != 403 {
		t.Fatalf("a run's token wrote a secret: %d", res.StatusCode)
	}
	b.want(200, "DELETE", at+"/box%23user+name%23ab%2F12", "", nil)
	if _, err := b.svc.Secret(t.Context(), workspace, "box#user name#ab/12"); !isStatus(err, 404) {
		t.Fatal(err)
	}
}

func TestOneOfManyCreatesADatastore(t *testing.T) {
	b := newBench(t)
	var created atomic.Int32
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			switch status, text := b.do("POST", stores, blobStore("one", "accountName", "faraway")); {
			case status == 200:
				created.Add(1)
			case status != 400 || !strings.Contains(text, "already exists"):
				t.Errorf("%d %s", status, text)
			}
		})
	}
	wg.Wait()
	if n := created.Load(); n != 1 {
		t.Fatalf("%d were created", n)
	}
}
