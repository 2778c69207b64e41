package assets_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const models = "/api/{WS}/models"

// newAsset registers an asset of one uploaded artifact.
func (b *bench) newAsset() string {
	b.t.Helper()
	b.upload("ExperimentRun", "run1", "outputs/model.pkl", "weights")
	var a struct{ ID string }
	b.want(200, "POST", "/api/{WS}/assets?{M}", `{"name":"m","description":"saved","artifacts":[{"prefix":"ExperimentRun/run1/outputs/model.pkl"}],"kvTags":null,"properties":null,"runid":"run1","projectid":null,"meta":null,"CreatedTime":"2018-10-10 09:12:19.118835"}`, &a)
	return a.ID
}

func modelBody(name, asset, more string) string {
	return `{"name":"` + name + `","tags":null,"properties":null,"description":null,"url":"aml://asset/` + asset + `","mimeType":"application/json","unpack":false` + more + `}`
}

func TestModelExchanges(t *testing.T) {
	b := newBench(t)
	asset := b.newAsset()
	b.upload("LocalUpload", "c", "dep.txt", "x")
	b.want(200, "POST", "{A}/batch/metadata/ExperimentRun/run1", `{"paths":[{"path":"outputs/never"}]}`, nil)
	const one = models + "/m:1?{M}"
	b.run([]exchange{
		{"asset", "GET", "/api/{WS}/assets/" + asset + "?{M}", "", 200, []string{`"artifacts":[{"id":null,"prefix":"ExperimentRun/run1/outputs/model.pkl"}]`, `"runid":"run1"`, `"createdTime":"2018-10-10T12:00:00.0000000Z"`}, nil},
		{"assets of a run", "GET", "/api/{WS}/assets?{M}&runId=run1&name=m", "", 200, []string{asset}, []string{"nextLink"}},
		{"assets of no run", "GET", "/api/{WS}/assets?{M}&runId=run2", "", 200, []string{`{"value":[]}`}, nil},
		{"register", "POST", models + "?{M}", modelBody("m", asset, ""), 200, []string{`"id":"m:1"`, `"version":1`, `"name":"m"`, `"description":null`, `"mimeType":"application/json"`,
			`"unpack":false`, `"kvTags":{}`, `"properties":{}`, `"url":"aml://asset/` + asset + `"`, `"createdTime":`}, []string{"nextLink"}},
		{"register again", "POST", models + "?{M}", modelBody("m", asset, `,"kvTags":{"area":"x","n":3,"ok":true}`), 200, []string{`"id":"m:2"`, `"n":"3"`, `"ok":"true"`}, nil},
		{"another name counts for itself", "POST", models + "?{M}", modelBody("m2.pkl", asset, `,"properties":{"p":"1"}`), 200, []string{`"id":"m2.pkl:1"`}, nil},
		{"of an artifact", "POST", models + "?{M}", `{"name":"art","url":"aml://artifact/LocalUpload/c/dep.txt","mimeType":"text/plain"}`, 200, []string{`"id":"art:1"`}, nil},
		{"get", "GET", one, "", 200, []string{`"id":"m:1"`}, []string{`"value"`}},
		{"get as the SDK does by name", "GET", models + "?{M}&orderBy=CreatedAtDesc&count=1&name=m&version=1", "", 200, []string{`"id":"m:1"`}, []string{"nextLink", "m:2"}},
		{"newest of a name", "GET", models + "?{M}&orderBy=CreatedAtDesc&count=1&name=m", "", 200, []string{`{"value":[{"id":"m:2"`, "nextLink"}, nil},
		{"by tag", "GET", models + "?{M}&tags=area=x,n", "", 200, []string{`"m:2"`}, []string{`"m:1"`, "m2.pkl"}},
		{"by kvTags", "GET", models + "?{M}&kvTags=area%3Dy", "", 200, []string{`{"value":[]}`}, nil},
		{"by properties", "GET", models + "?{M}&properties=p", "", 200, []string{`"m2.pkl:1"`}, []string{`"m:1"`}},
		{"by an absent name", "GET", models + "?{M}&name=absent", "", 200, []string{`{"value":[]}`}, nil},
		{"by run", "GET", models + "?{M}&runId=run1&name=m", "", 200, []string{`"m:1"`, `"m:2"`}, nil},
		{"oldest first", "GET", models + "?{M}&orderBy=CreatedAtAsc&name=m", "", 200, []string{`{"value":[{"id":"m:1"`}, nil},
		{"patch tags", "PATCH", one, `[{"op":"replace","path":"/kvTags","value":{"a":"1"}}]`, 200, []string{`"kvTags":{"a":"1"}`}, nil},
		{"patch properties", "PATCH", one, `[{"op":"add","path":"/properties","value":{"p":"q"}}]`, 200, []string{`"properties":{"p":"q"}`}, nil},
		{"patch members", "PATCH", one, `[{"op":"test","path":"/kvTags/a","value":"1"},{"op":"add","path":"/kvTags/b~1c","value":2},{"op":"remove","path":"/kvTags/a"},{"op":"replace","path":"/description","value":"d"}]`,
			200, []string{`"kvTags":{"b/c":"2"}`, `"description":"d"`}, nil},

		{"a test that fails changes nothing", "PATCH", one, `[{"op":"replace","path":"/description","value":"lost"},{"op":"test","path":"/kvTags/b~1c","value":"3"}]`, 400, []string{`"code":"BadRequest","statusCode":400,"message":"The request is invalid"`, "Operation 1", "InvalidPatchOperation"}, nil},
		{"as said", "GET", one, "", 200, []string{`"description":"d"`}, nil},
		{"patch what is fixed", "PATCH", one, `[{"op":"replace","path":"/name","value":"x"}]`, 400, []string{"/name", "InvalidPatchOperation"}, nil},
		{"patch with an unknown verb", "PATCH", one, `[{"op":"move","from":"/a","path":"/kvTags"}]`, 400, []string{"move"}, nil},
		{"patch without a value", "PATCH", one, `[{"op":"add","path":"/kvTags"}]`, 400, []string{"needs a value"}, nil},
		{"patch by a list", "PATCH", one, `[{"op":"add","path":"/kvTags","value":["a"]}]`, 400, []string{"object of strings"}, nil},
		{"remove what is not there", "PATCH", one, `[{"op":"remove","path":"/kvTags/none"}]`, 400, []string{"/kvTags/none"}, nil},
		{"patch is no list", "PATCH", one, `{"op":"add"}`, 400, []string{"EmptyOrInvalidPayload"}, nil},
		{"patch nothing", "PATCH", models + "/m:9?{M}", `[]`, 404, []string{"ModelNotFound", "m:9"}, nil},
		{"unknown version", "GET", models + "/m:9?{M}", "", 404, []string{`"code":"NotFound","statusCode":404,"message":"The specified resource was not found."`, `"details":[{"code":"ModelNotFound"`, "m:9"}, nil},
		{"no id", "GET", models + "/m?{M}", "", 404, []string{"ModelNotFound"}, nil},
		{"another spelling of an id", "GET", models + "/m:01?{M}", "", 404, []string{"ModelNotFound"}, nil},
		{"unknown asset of a model", "POST", models + "?{M}", modelBody("m", "none", ""), 400, []string{"AssetNotFound", "none", `"target":"url"`}, nil},
		{"unknown artifact of a model", "POST", models + "?{M}", `{"name":"m","url":"aml://artifact/LocalUpload/c/no.txt","mimeType":"t"}`, 400, []string{"ArtifactNotFound", "no.txt"}, nil},
		{"url of a kind that is none", "POST", models + "?{M}", `{"name":"m","url":"https://example.com/m","mimeType":"t"}`, 400, []string{"InvalidModelUrl"}, nil},
		{"no name", "POST", models + "?{M}", modelBody("", asset, ""), 400, []string{`"target":"name"`}, nil},
		{"bad name", "POST", models + "?{M}", modelBody("a b", asset, ""), 400, []string{"InvalidModelName", "a b"}, nil},
		{"no url", "POST", models + "?{M}", `{"name":"m","mimeType":"t"}`, 400, []string{`"target":"url"`}, nil},
		{"no mimeType", "POST", models + "?{M}", `{"name":"m","url":"aml://asset/x"}`, 400, []string{`"target":"mimeType"`}, nil},
		{"tags as a list, as in a known report of 2018", "POST", models + "?{M}", `{"name":"m","kvTags":["pdm"],"url":"aml://asset/` + asset + `","mimeType":"t"}`, 400,
			[]string{`{"code":"BadRequest","statusCode":400,"message":"The request is invalid","details":[{"code":"EmptyOrInvalidPayload","message":"The request payload was either empty or invalid. Try again with a well-formed payload.`}, nil},
		{"a tag that is an object", "POST", models + "?{M}", modelBody("m", asset, `,"kvTags":{"a":{}}`), 400, []string{"EmptyOrInvalidPayload"}, nil},
		{"no body", "POST", models + "?{M}", "", 400, []string{"EmptyOrInvalidPayload"}, nil},
		{"asset of nothing", "POST", "/api/{WS}/assets?{M}", `{"name":"a","artifacts":[{"prefix":"ExperimentRun/run1/none"}]}`, 400, []string{"ArtifactNotFound", "ExperimentRun/run1/none", "artifacts[0].prefix"}, nil},
		{"asset of what never came", "POST", "/api/{WS}/assets?{M}", `{"name":"a","artifacts":[{"id":"ExperimentRun/run1/outputs/never"}]}`, 400, []string{"ArtifactNotFound", "artifacts[0].id"}, nil},
		{"asset of no artifact", "POST", "/api/{WS}/assets?{M}", `{"name":"a","artifacts":[{}]}`, 400, []string{"artifacts[0]"}, nil},
		{"asset of a bad id", "POST", "/api/{WS}/assets?{M}", `{"name":"a","artifacts":[{"prefix":"ExperimentRun"}]}`, 400, []string{"artifacts[0].prefix"}, nil},
		{"asset without artifacts", "POST", "/api/{WS}/assets?{M}", `{"name":"a"}`, 400, []string{`"target":"artifacts"`}, nil},
		{"asset without name", "POST", "/api/{WS}/assets?{M}", `{"artifacts":[{"prefix":"x"}]}`, 400, []string{`"target":"name"`}, nil},
		{"unknown asset", "GET", "/api/{WS}/assets/none?{M}", "", 404, []string{"AssetNotFound", "none"}, nil},
		{"patch asset", "PATCH", "/api/{WS}/assets/" + asset + "?{M}", `[{"op":"add","path":"/kvTags","value":{"a":"b"}}]`, 200, []string{`"kvTags":{"a":"b"}`}, nil},
		{"patch unknown asset", "PATCH", "/api/{WS}/assets/none?{M}", `[]`, 404, []string{"AssetNotFound"}, nil},
		{"no api-version", "GET", models, "", 400, []string{"ApiVersionUnspecified"}, nil},
		{"unknown api-version", "GET", models + "?api-version=2030-01-01", "", 400, []string{"UnsupportedApiVersion", "2030-01-01"}, nil},
		{"bad count", "GET", models + "?{M}&count=x", "", 400, []string{`"target":"count"`}, nil},
		{"bad version", "GET", models + "?{M}&version=0", "", 400, []string{`"target":"version"`}, nil},
		{"bad order", "GET", models + "?{M}&orderBy=Size", "", 400, []string{"orderBy", "Size"}, nil},
		{"bad token", "GET", models + "?{M}&$skipToken=zzz", "", 400, []string{"skipToken"}, nil},

		{"delete", "DELETE", models + "/m:2?{M}", "", 200, nil, nil},
		{"delete again", "DELETE", models + "/m:2?{M}", "", 204, nil, nil},
		{"delete no id", "DELETE", models + "/none?{M}", "", 204, nil, nil},
		{"a deleted version does not come again", "POST", models + "?{M}", modelBody("m", asset, ""), 200, []string{`"id":"m:3"`}, nil},
		{"delete asset", "DELETE", "/api/{WS}/assets/" + asset + "?{M}", "", 200, nil, nil},
		{"delete asset again", "DELETE", "/api/{WS}/assets/" + asset + "?{M}", "", 204, nil, nil},
	})
}

func TestModelListPages(t *testing.T) {
	b := newBench(t)
	asset := b.newAsset()
	for i := range 7 {
		b.want(200, "POST", models+"?{M}", modelBody("m", asset, ""), nil)
		if i%2 == 0 { // some share an instant
			b.clock.Advance(time.Second)
		}
	}
	for order, want := range map[string]string{"CreatedAtDesc": "7 6 5 4 3 2 1", "CreatedAtAsc": "1 2 3 4 5 6 7"} {
		var got []string
		next := models + "?{M}&name=m&count=3&orderBy=" + order
		for next != "" {
			var page struct {
				Value    []struct{ Version int }
				NextLink *string
			}
			b.want(200, "GET", next, "", &page)
			for _, m := range page.Value {
				got = append(got, fmt.Sprint(m.Version))
			}
			if next = ""; page.NextLink != nil {
				u, err := url.Parse(*page.NextLink)
				if err != nil || u.Host != "eastus2.api.azureml.ms" {
					t.Fatalf("%q %v", *page.NextLink, err)
				}
				next = u.RequestURI()
				// What comes between two pages shifts none of them.
				if order == "CreatedAtDesc" && len(got) == 3 {
					b.want(200, "POST", models+"?{M}", modelBody("other", asset, ""), nil)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", order, got)
		}
	}
	b.clock.Advance(time.Second)
	b.want(200, "PATCH", models+"/m:2?{M}", `[{"op":"add","path":"/kvTags/k","value":"v"}]`, nil)
	b.run([]exchange{{"last changed first", "GET", models + "?{M}&orderBy=UpdatedAtDesc&count=1", "", 200, []string{`{"value":[{"id":"m:2"`}, nil}})
}

func TestModelVersionsAreCountedTogether(t *testing.T) {
	b := newBench(t)
	asset := b.newAsset()
	const n = 40
	var mu sync.Mutex
	var versions []int
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			status, text := b.do("POST", models+"?{M}", modelBody("m", asset, ""))
			var m struct{ Version int }
			if err := json.Unmarshal([]byte(text), &m); status != 200 || err != nil {
				t.Errorf("%d %s", status, text)
			}
			mu.Lock()
			defer mu.Unlock()
			versions = append(versions, m.Version)
		})
	}
	wg.Wait()
	slices.Sort(versions)
	for i, v := range versions {
		if v != i+1 {
			t.Fatal(versions)
		}
	}
}

func TestTagsFromManyDoNotGetLost(t *testing.T) {
	b := newBench(t)
	b.want(200, "POST", models+"?{M}", modelBody("m", b.newAsset(), ""), nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			body := fmt.Sprintf(`[{"op":"add","path":"/kvTags/k%d","value":"v"}]`, i)
			if status, text := b.do("PATCH", models+"/m:1?{M}", body); status != 200 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	wg.Wait()
	var m struct{ KvTags map[string]string }
	b.want(200, "GET", models+"/m:1?{M}", "", &m)
	if len(m.KvTags) != 20 {
		t.Fatalf("%d tags", len(m.KvTags))
	}
}

func TestEverythingSurvivesRestart(t *testing.T) {
	blobs, path := newMemory(), dbPath(t)
	b := openBench(t, path, blobs)
	asset := b.newAsset()
	b.want(200, "POST", models+"?{M}", modelBody("m", asset, ""), nil)
	b.want(200, "POST", models+"?{M}", modelBody("m", asset, ""), nil)
	b.want(200, "DELETE", models+"/m:2?{M}", "", nil)
	b.want(200, "PUT", "/credential/v1.0/{WS}/secrets", `{"Name":"n","Value":"v"}`, nil)
	b.want(200, "POST", stores, blobStore("far", "accountName", "faraway"), nil)
	b.want(200, "PUT", "/datastore/v1.0/{WS}/default/far", "", nil)
	b.want(200, "POST", "{A}/content/ExperimentRun/r/l.txt?append=true&index=0", "a", nil)
	if err := b.st.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBench(t, path, blobs)
	b.run([]exchange{
		{"model", "GET", models + "/m:1?{M}", "", 200, []string{`"m:1"`}, nil},
		{"the count goes on", "POST", models + "?{M}", modelBody("m", asset, ""), 200, []string{`"m:3"`}, nil},
		{"secret", "GET", "/credential/v1.0/{WS}/secrets/n", "", 200, []string{`"v"`}, nil},
		{"default datastore", "GET", "/datastore/v1.0/{WS}/default", "", 200, []string{`"far"`}, nil},
		{"a repeated block", "POST", "{A}/content/ExperimentRun/r/l.txt?append=true&index=0", "a", 200, nil, nil},
		{"is not added", "GET", "{A}/content/ExperimentRun/r/l.txt", "", 200, []string{"a"}, []string{"aa"}},
		{"artifacts", "GET", "{A}/origins/ExperimentRun/containers/run1", "", 200, []string{"outputs/model.pkl"}, nil},
	})
}
