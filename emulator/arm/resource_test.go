package arm_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/arm"
)

func TestResource(t *testing.T) {
	r := newRig(t)
	r.group()
	a := r.must(201, "PUT {P}/plain/MyThing", `{"location":"East US 2","tags":{"A":"b"},"sku":{"name":"S1"},"kind":"k","properties":{"SIZE":"small","count":"3","flag":"True","made":"no","extra":{"x":1},"provisioningState":"Odd"}}`)
	want := `{"id":"/subscriptions/` + sub + `/resourceGroups/g/providers/Microsoft.Things/plain/MyThing","name":"MyThing","type":"Microsoft.Things/plain","location":"East US 2","tags":{"A":"b"},"sku":{"name":"S1"},"kind":"k","etag":` +
		a.header.Get("Etag") + `,"properties":{"provisioningState":"Succeeded","count":3,"extra":{"x":1},"flag":true,"size":"Small"}}`
	if a.body != want {
		t.Errorf("PUT\n%s\n%s", a.body, want)
	}
	for _, line := range []string{
		"GET {P}/plain/mything", "GET /SUBSCRIPTIONS/" + sub + "/resourcegroups/G/Providers/microsoft.things/PLAIN/MYTHING",
		"GET {P}/plain/MyThing?api-version=2018-05-01&api-version=2018-05-01", "GET {P}/plain/MyThing?API-Version=2018-03-01-preview", "GET {P}/plain/MyThing/",
		"GET {P}/plain/My%54hing",
	} {
		if a := r.must(200, line, ""); a.body != want {
			t.Errorf("%s: %s", line, a.body)
		}
	}
	r.must(204, "HEAD {P}/plain/mything", "")
	r.must(404, "HEAD {P}/plain/other", "")
	if a := r.must(304, "GET {P}/plain/mything", "", "If-None-Match: "+a.header.Get("Etag")); a.body != "" {
		t.Error(a.body)
	}
	old := a.header.Get("Etag")
	a = r.must(200, "PATCH {P}/plain/mything", `{"tags":{"c":"d"},"properties":{"extra":{"y":2,"x":null},"Size":null}}`, "If-Match: "+old)
	if got, _ := json.Marshal(a.json["properties"]); string(got) != `{"count":3,"extra":{"y":2},"flag":true,"provisioningState":"Succeeded"}` || a.get("tags.c") != "d" || a.get("tags.A") != nil || a.get("sku.name") != "S1" {
		t.Error(a.body)
	}
	if a.header.Get("Etag") == old {
		t.Error("the etag did not change")
	}
	a = r.must(200, "PUT {P}/plain/mything", `{"properties":{}}`)
	if a.get("id") != "/subscriptions/"+sub+"/resourceGroups/g/providers/Microsoft.Things/plain/MyThing" || a.get("location") != "East US 2" || a.get("sku") != nil || a.get("properties.count") != nil {
		t.Error(a.body)
	}
	if a = r.must(200, "DELETE {P}/plain/MYTHING", ""); a.body != "" || a.header.Get("Content-Length") != "0" {
		t.Errorf("%q %v", a.body, a.header)
	}
	r.must(204, "DELETE {P}/plain/mything", "")
	r.must(404, "GET {P}/plain/mything", "")
}

func TestHeaders(t *testing.T) {
	r := newRig(t)
	a := r.do("GET {SUB}", "", "X-Ms-Client-Request-Id: me", "X-Ms-Correlation-Request-Id: all")
	if a.header.Get("X-Ms-Client-Request-Id") != "" || a.header.Get("X-Ms-Correlation-Request-Id") != "all" || a.header.Get("X-Ms-Request-Id") == "" || a.header.Get("X-Ms-Ratelimit-Remaining-Subscription-Reads") == "" || a.header.Get("Cache-Control") != "no-cache" {
		t.Error(a.header)
	}
	a = r.do("GET {SUB}", "", "X-Ms-Client-Request-Id: me", "X-Ms-Return-Client-Request-Id: true")
	if a.header.Get("X-Ms-Client-Request-Id") != "me" || a.header.Get("X-Ms-Correlation-Request-Id") != a.header.Get("X-Ms-Request-Id") {
		t.Error(a.header)
	}
	if a := r.do("DELETE {G}", ""); a.header.Get("X-Ms-Ratelimit-Remaining-Subscription-Deletes") == "" {
		t.Error(a.header)
	}
	if a := r.do("PUT {G}", "{}"); a.header.Get("X-Ms-Ratelimit-Remaining-Subscription-Writes") == "" {
		t.Error(a.header)
	}
}

// Ensure that what a provider keeps in Private is on no answer.
func TestPrivate(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/waiting/w", `{"location":"eastus2","properties":{"secret":"hunter2"}}`)
	for _, line := range []string{"GET {P}/waiting/w", "GET {P}/waiting", "GET {SUB}/resources", "GET {G}/resources"} {
		if a := r.must(200, line, ""); strings.Contains(a.body, "hunter2") || !strings.Contains(a.body, `"w"`) {
			t.Errorf("%s: %s", line, a.body)
		}
	}
	// It survives a PUT that does not repeat it.
	r.must(200, "PUT {P}/waiting/w", `{"location":"eastus2"}`)
	r.reopen()
	id, _ := arm.ParseID("/subscriptions/" + sub + "/resourceGroups/G/providers/Microsoft.Things/waiting/W")
	res, err := r.engine.Get(context.Background(), id)
	if err != nil || string(res.Private) != `{"secret":"hunter2"}` {
		t.Errorf("%s, %v", res.Private, err)
	}
}

func TestGroup(t *testing.T) {
	r := newRig(t)
	a := r.must(201, "PUT {SUB}/resourcegroups/MyGroup", `{"location":"East US","tags":{"x":"1"}}`)
	want := `{"id":"/subscriptions/` + sub + `/resourceGroups/MyGroup","name":"MyGroup","location":"eastus","tags":{"x":"1"},"properties":{"provisioningState":"Succeeded"}}`
	if a.body != want {
		t.Errorf("%s\n%s", a.body, want)
	}
	if a := r.must(200, "GET {SUB}/resourceGroups/mygroup", ""); a.body != want {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {SUB}/resourceGroups/mygroup?api-version=2024-11-01", ""); a.get("type") != "Microsoft.Resources/resourceGroups" {
		t.Error(a.body)
	}
	r.must(204, "HEAD {SUB}/resourceGroups/MYGROUP", "")
	r.must(404, "HEAD {SUB}/resourceGroups/other", "")
	r.must(200, "PUT {SUB}/resourcegroups/mygroup", `{"location":"eastus","tags":{"x":"2"}}`)
	if a := r.must(200, "PATCH {SUB}/resourcegroups/mygroup", `{"tags":{"y":"3"}}`); a.get("tags.y") != "3" || a.get("tags.x") != nil || a.get("location") != "eastus" {
		t.Error(a.body)
	}
	for _, n := range []string{"b", "c", "d", "e"} {
		r.must(201, "PUT {SUB}/resourcegroups/"+n, `{"location":"eastus","tags":{"team":"`+n+`"}}`)
	}
	if got := r.pages("GET {SUB}/resourcegroups?$top=2"); strings.Join(got, " ") != "b c|d e|MyGroup" {
		t.Error(got)
	}
	if got := r.pages("GET {SUB}/resourcegroups?$filter=tagName%20eq%20'team'%20and%20tagValue%20eq%20'c'"); strings.Join(got, " ") != "c" {
		t.Error(got)
	}
	if got := r.pages("GET {SUB}/resourcegroups?$filter=tagname%20eq%20'team'"); strings.Join(got, " ") != "b c d|e" {
		t.Error(got)
	}
}

// pages follows nextLink; names are joined by " ", pages by "|".
func (r *rig) pages(line string) []string {
	r.t.Helper()
	var pages []string
	for line != "" {
		a := r.must(200, line, "")
		var names []string
		for _, v := range a.json["value"].([]any) {
			names = append(names, v.(map[string]any)["name"].(string))
		}
		pages = append(pages, strings.Join(names, " "))
		next, ok := a.json["nextLink"].(string)
		if _, there := a.json["nextLink"]; there && !ok || len(pages) > 50 {
			r.t.Fatalf("nextLink %v", a.json["nextLink"])
		}
		if line = ""; ok {
			line = "GET " + next
		}
	}
	return strings.Split(strings.Join(pages, "|"), " ")
}

func TestLists(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {SUB}/resourceGroups/g2", `{"location":"westus"}`)
	for _, n := range []string{"a", "b", "c", "d"} {
		r.must(201, "PUT {P}/plain/"+n, `{"location":"eastus2","tags":{"n":"`+n+`"}}`)
		r.must(201, "PUT {P}/plain/a/parts/p"+n, `{}`)
		r.must(201, "PUT {P}/whole/"+strings.Repeat(n, 3), `{}`)
	}
	r.must(201, "PUT {P}/plain/b/parts/other", `{}`)
	r.must(201, "PUT {P}/plain/a/parts/pa/bits/bit", `{}`)
	r.must(201, "PUT {SUB}/resourceGroups/g2/providers/Microsoft.Things/plain/z", `{"location":"West US"}`)
	for _, tt := range []struct{ line, want string }{
		{"GET {P}/plain", "a b c|d"},
		{"GET {P}/plain?$top=2", "a b|c d"},
		{"GET {P}/plain?maxresults=1000", "a b c|d"},
		{"GET {SUB}/providers/Microsoft.Things/plain", "a b c|d z"},
		{"GET {P}/plain/a/parts", "pa pb pc|pd"},
		{"GET {P}/plain/A/PARTS/PA/bits", "bit"},
		{"GET {P}/plain/c/parts", ""},
		{"GET {P}/whole", "aaa bbb ccc ddd"},
		{"GET {P}/whole?$top=1", "aaa bbb ccc ddd"},
		{"GET {SUB}/resources", "a b c|d z"},
		{"GET {G}/resources", "a b c|d"},
		{"GET {SUB}/resources?$filter=resourceType%20eq%20'microsoft.things/PLAIN'%20and%20name%20eq%20'B'", "b"},
		{"GET {SUB}/resources?$filter=name%20eq%20'a'%20or%20location%20eq%20'westus'", "a z"},
		{"GET {SUB}/resources?$filter=tagName%20eq%20'n'%20and%20tagValue%20eq%20'd'", "d"},
		{"GET {SUB}/resources?$filter=not%20(name%20ne%20'c')%20and%20substringof('C',%20name)", "c"},
		{"GET {SUB}/resources?$filter=startswith(name,%20'z')", "z"},
		{"GET {SUB}/resources?$filter=resourceType%20eq%20'Microsoft.None/x'", ""},
	} {
		if got := strings.Join(r.pages(tt.line), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
		}
	}
	a := r.must(200, "GET {SUB}/resources?$filter=name%20eq%20'b'", "")
	if got, _ := json.Marshal(a.get("value.0")); string(got) != `{"id":"/subscriptions/`+sub+`/resourceGroups/g/providers/Microsoft.Things/plain/b","location":"eastus2","name":"b","tags":{"n":"b"},"type":"Microsoft.Things/plain"}` {
		t.Errorf("%s", got)
	}
}

func TestSubscriptionLevel(t *testing.T) {
	r := newRig(t)
	a := r.must(200, "GET /subscriptions?api-version=2016-06-01", "")
	if a.get("value.0.subscriptionId") != sub || a.get("value.0.displayName") != "Emulator" || a.get("value.0.state") != "Enabled" || a.get("value.0.tenantId") != nil {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {SUB}?api-version=2022-12-01", ""); a.get("tenantId") != tenant || a.get("id") != "/subscriptions/"+sub {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {SUB}/locations?api-version=2016-06-01", ""); len(a.json["value"].([]any)) != 30 || a.get("value.4.name") != "eastus2" || a.get("value.4.displayName") != "East US 2" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET /tenants?api-version=2016-06-01", ""); a.get("value.0.tenantId") != tenant {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {SUB}/providers/microsoft.insights/eventtypes/management/values?api-version=2015-04-01&$filter=eventTimestamp%20ge%202018", ""); a.body != `{"value":[]}` {
		t.Error(a.body)
	}
	if a := r.must(200, "GET {SUB}/providers/Microsoft.Things/locations/eastus/sizes", ""); a.body != `{"value":["eastus","`+sub+`"]}` {
		t.Error(a.body)
	}
	for _, line := range []string{"GET /providers", "POST /providers", "GET {SUB}/providers"} {
		if a := r.must(200, line, ""); !strings.Contains(a.body, `"namespace":"Microsoft.Things"`) {
			t.Error(a.body)
		}
	}
	if a := r.must(200, "GET /providers/microsoft.things", ""); a.get("registrationState") != nil || a.get("resourceTypes.0.apiVersions.0") != "2018-05-01" {
		t.Error(a.body)
	}
}

func TestRegistration(t *testing.T) {
	r := newRig(t)
	r.group()
	state := func(want string) {
		t.Helper()
		if a := r.must(200, "GET {SUB}/providers/Microsoft.Shy?api-version=2016-02-01", ""); a.get("registrationState") != want {
			t.Fatalf("state %v, want %s", a.get("registrationState"), want)
		}
	}
	state("NotRegistered")
	if a := r.must(200, "POST {SUB}/providers/microsoft.shy/register?api-version=2016-02-01", ""); a.get("registrationState") != "Registering" {
		t.Error(a.body)
	}
	r.must(201, "PUT {G}/providers/Microsoft.Shy/ones/x", plainBody)
	r.clock.Advance(time.Second)
	r.reopen()
	state("Registered")
	if a := r.must(200, "POST {SUB}/providers/microsoft.shy/unregister?api-version=2016-02-01", ""); a.get("registrationState") != "Unregistering" {
		t.Error(a.body)
	}
	r.must(409, "PUT {G}/providers/Microsoft.Shy/ones/y", plainBody)
	r.must(200, "GET {G}/providers/Microsoft.Shy/ones/x", "")
	r.clock.Advance(time.Second)
	state("NotRegistered")
}

func TestMetadata(t *testing.T) {
	r := newRig(t)
	a := r.must(200, "GET https://localhost:8443/metadata/endpoints?api-version=2022-09-01", "", "Authorization: ")
	if a.get("authentication.loginEndpoint") != "https://localhost:8443/adfs" || a.get("resourceManager") != "https://localhost:8443" || a.get("authentication.audiences.0") != "https://management.core.windows.net/" || a.get("suffixes.storage") != "core.windows.net" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET https://localhost:8443/metadata/endpoints?api-version=2019-05-01", ""); !strings.HasPrefix(a.body, `[{"`) {
		t.Error(a.body)
	}
	if a := r.must(200, "GET https://localhost:8443/metadata/endpoints?api-version=2015-01-01", ""); a.get("galleryEndpoint") != "https://localhost:8443/" || a.get("authentication.loginEndpoint") != "https://localhost:8443/adfs" {
		t.Error(a.body)
	}
	if a := r.must(200, "GET /metadata/endpoints?api-version=2022-09-01", ""); a.get("authentication.loginEndpoint") != "https://login.microsoftonline.com" || a.get("name") != "AzureCloud" {
		t.Error(a.body)
	}
}

func TestView(t *testing.T) {
	r := newRig(t)
	r.group()
	r.must(201, "PUT {P}/plain/a", plainBody)
	r.must(201, "PUT {P}/plain/a/parts/p", `{}`)
	v, ctx := r.engine.View(), context.Background()
	group, _ := arm.ParseID("/subscriptions/" + sub + "/resourcegroups/G")
	names := func(parent arm.ID, typ string) []string {
		all, err := v.List(ctx, parent, typ)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range all {
			out = append(out, r.ID.Name())
		}
		return out
	}
	if got := names(group, "microsoft.things/plain/PARTS"); !slices.Equal(got, []string{"p"}) {
		t.Error(got)
	}
	if got := names(group, ""); !slices.Equal(got, []string{"a", "p"}) {
		t.Error(got)
	}
	if got := names(arm.ID{}, ""); !slices.Equal(got, []string{"g", "a", "p"}) {
		t.Error(got)
	}
	res, err := v.Get(ctx, group.Child("Microsoft.Things/plain", "A"))
	if err != nil {
		t.Fatal(err)
	}
	// What a caller does to its copy does not reach the engine.
	res.Tags["a"] = "changed"
	copy(res.Properties, `{"SIZE`)
	if again, _ := v.Get(ctx, res.ID); again.Tags["a"] != "b" || string(again.Properties) != `{"size":"Small"}` {
		t.Errorf("%v %s", again.Tags, again.Properties)
	}
	_, err = v.Get(ctx, group.Child("Microsoft.Things/plain", "none"))
	if e, ok := err.(*arm.Error); !ok || e.Status != http.StatusNotFound {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	order := []string{"2017-09-01-preview", "2017-09-01", "2018-03-01-alpha", "2018-03-01-preview", "2018-03-01", "2018-05-01"}
	for i, a := range order {
		for j, b := range order {
			got := arm.CompareVersions(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("CompareVersions(%s, %s) = %d", a, b, got)
			}
		}
	}
	v := arm.Versions{From: "2018-03-01-preview", To: "2018-11-19"}
	for version, want := range map[string]bool{"2018-03-01-PREVIEW": true, "2018-03-01": true, "2018-11-19": true, "2018-11-20": false, "2018-02-28": false, "2018-11-19-preview": true} {
		if v.Contains(version) != want {
			t.Errorf("Contains(%s) = %v", version, !want)
		}
	}
}
