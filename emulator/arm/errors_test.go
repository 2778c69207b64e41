package arm_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lazulite.dev/emulator/arm"
)

const plainBody = `{"location":"eastus2","tags":{"a":"b"},"properties":{"size":"Small"}}`

// Ensure that each refusal has the real service's status, code and words, and changes nothing.
func TestErrors(t *testing.T) {
	many := []string{}
	for i := range 16 {
		many = append(many, fmt.Sprintf(`"t%d":"v"`, i))
	}
	other := "11111111-0000-4000-8000-0000000000aa"
	for _, tt := range []struct {
		name, request, body string
		headers             []string
		status              int
		code, message       string
	}{
		{"NoToken", "GET {G}", "", []string{"Authorization: "}, 401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."},
		{"NoRoute", "GET /nonsense", "", nil, 404, "MissingSubscription", "The request did not have a subscription or a valid tenant level resource provider."},
		{"Root", "GET /", "", nil, 404, "MissingSubscription", "The request did not have a subscription or a valid tenant level resource provider."},
		{"EmptySegment", "GET {SUB}//resourceGroups", "", nil, 400, "InvalidRequestUri", "The request URI is not valid: it has an empty or a wrongly escaped path segment."},
		{"EmptyParent", "GET {G}/providers/Microsoft.Things//plain/none", "", nil, 404, "ResourceNotFound", ""},
		{"SlashInName", "GET {G}/providers/Microsoft.Things/plain/a%2Fb", "", nil, 400, "InvalidRequestUri", ""},
		{"SubscriptionUnknown", "GET /subscriptions/" + other + "/resourceGroups", "", nil, 404, "SubscriptionNotFound", "The subscription '" + other + "' could not be found."},
		{"SubscriptionMalformed", "GET /subscriptions/abc/resourceGroups", "", nil, 400, "InvalidSubscriptionId", "The provided subscription identifier 'abc' is malformed or invalid."},
		{"VersionMissing", "GET {G}!", "", nil, 400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."},
		{"VersionFormat", "GET {G}?api-version=new", "", nil, 400, "InvalidApiVersionParameter", "The api-version 'new' is invalid. The supported versions are '2018-05-01,2018-02-01,"},
		{"VersionTooOld", "GET {SUB}/resourceGroups?api-version=2013-01-01", "", nil, 400, "InvalidApiVersionParameter", "The api-version '2013-01-01' is invalid."},
		{"TypeVersion", "GET {P}/plain?api-version=2017-01-01", "", nil, 400, "NoRegisteredProviderFound",
			"No registered resource provider found for location 'eastus2' and API version '2017-01-01' for type 'plain'. The supported api-versions are '2018-05-01, 2018-03-01-preview'. The supported locations are ', eastasia,"},
		{"TypeVersionNoGroup", "GET {SUB}/providers/Microsoft.Things/plain?api-version=2017-01-01", "", nil, 400, "InvalidResourceType",
			"The resource type 'plain' could not be found in the namespace 'Microsoft.Things' for api version '2017-01-01'. The supported api-versions are '2018-05-01, 2018-03-01-preview'."},
		{"NamespaceOnResource", "PUT {P}/plain/x/providers/Microsoft.Nope/locks/y", "{}", nil, 404, "InvalidResourceNamespace", "The resource namespace 'Microsoft.Nope' is invalid."},
		{"TypeOnResource", "GET {P}/plain/x/providers/Microsoft.Resources/nopes/y", "", nil, 404, "InvalidResourceType", "The resource type 'nopes' could not be found in the namespace 'Microsoft.Resources'"},
		{"Namespace", "GET {G}/providers/Microsoft.Nope/xs/y", "", nil, 404, "InvalidResourceNamespace", "The resource namespace 'Microsoft.Nope' is invalid."},
		{"Type", "GET {P}/nopes/y", "", nil, 404, "InvalidResourceType", "The resource type 'nopes' could not be found in the namespace 'Microsoft.Things' for api version '2018-05-01'."},
		{"Group", "GET {SUB}/resourceGroups/none", "", nil, 404, "ResourceGroupNotFound", "Resource group 'none' could not be found."},
		{"GroupOfResource", "PUT {SUB}/resourcegroups/none/providers/Microsoft.Things/plain/p", plainBody, nil, 404, "ResourceGroupNotFound", "Resource group 'none' could not be found."},
		{"GroupOfList", "GET {SUB}/resourcegroups/none/providers/Microsoft.Things/plain", "", nil, 404, "ResourceGroupNotFound", "Resource group 'none' could not be found."},
		{"GroupDelete", "DELETE {SUB}/resourceGroups/none", "", nil, 404, "ResourceGroupNotFound", "Resource group 'none' could not be found."},
		{"GroupLocation", "PUT {G}", `{"location":"West US"}`, nil, 409, "InvalidResourceGroupLocation", "Invalid resource group location 'West US'. The Resource group already exists in location 'eastus2'."},
		{"GroupRegion", "PUT {SUB}/resourceGroups/h", `{"location":"moon"}`, nil, 400, "LocationNotAvailableForResourceGroup", "The provided location 'moon' is not available for resource group. List of available regions is 'eastasia,"},
		{"GroupNoLocation", "PUT {SUB}/resourceGroups/h", `{}`, nil, 400, "LocationRequired", "The location property is required for this definition."},
		{"GroupName", "PUT {SUB}/resourceGroups/h*h", `{"location":"eastus"}`, nil, 400, "InvalidResourceGroup", "The provided resource group name 'h*h' has these invalid characters: '*'. The name can only be a letter, digit, '-', '.', '(', ')' or '_'."},
		{"GroupNameEnd", "PUT {SUB}/resourceGroups/h.", `{"location":"eastus"}`, nil, 400, "InvalidResourceGroup", ""},
		{"GroupNameLength", "PUT {SUB}/resourceGroups/" + strings.Repeat("a", 91), `{"location":"eastus"}`, nil, 400, "InvalidResourceGroup", ""},
		{"Resource", "GET {P}/plain/none", "", nil, 404, "ResourceNotFound", "The Resource 'Microsoft.Things/plain/none' under resource group 'g' was not found."},
		{"NestedResource", "GET {P}/plain/p/parts/none", "", nil, 404, "ResourceNotFound", "The Resource 'Microsoft.Things/plain/parts/p/none' under resource group 'g' was not found."},
		{"ResourceOwnWords", "GET {P}/batch/none", "", nil, 404, "ClusterNotFound", "The specified cluster none is not found"},
		{"Parent", "PUT {P}/plain/none/parts/x", `{}`, nil, 404, "ParentResourceNotFound", "Can not perform requested operation on nested resource. Parent resource 'none' not found."},
		{"ParentOfList", "GET {P}/plain/none/parts", "", nil, 404, "ParentResourceNotFound", "Can not perform requested operation on nested resource. Parent resource 'none' not found."},
		{"PatchAbsent", "PATCH {P}/plain/none", `{}`, nil, 404, "ResourceNotFound", ""},
		{"NotRegistered", "PUT {G}/providers/Microsoft.Shy/ones/x", plainBody, nil, 409, "MissingSubscriptionRegistration", "The subscription is not registered to use namespace 'Microsoft.Shy'. See https://aka.ms/rps-not-found for how to register subscriptions."},
		{"Method", "POST {P}/plain/p", "", nil, 405, "MethodNotAllowed", "The requested resource does not support http method 'POST'."},
		{"MethodWithout", "PATCH {P}/whole/abc", "{}", nil, 405, "MethodNotAllowed", ""},
		{"MethodOfList", "PUT {P}/plain", "{}", nil, 405, "MethodNotAllowed", ""},
		{"MethodOfAction", "GET {P}/compute/c/start", "", nil, 405, "MethodNotAllowed", ""},
		{"Action", "POST {P}/compute/c/nope", "", nil, 404, "InvalidResourceType", "The resource type 'compute/nope' could not be found in the namespace 'Microsoft.Things' for api version '2018-05-01'."},
		{"ActionAbsent", "POST {P}/compute/none/start", "", nil, 404, "ResourceNotFound", ""},
		{"JSON", "PUT {P}/plain/new", `{"location":"eastus",}`, nil, 400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Unexpected character encountered while parsing value: }. Path '', line 1, position 22."},
		{"JSONEnd", "PUT {P}/plain/new", `{"location":`, nil, 400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Unexpected end when reading JSON. Path '', line 1, position 12."},
		{"JSONTwice", "PUT {P}/plain/new", `{} {}`, nil, 400, "InvalidRequestContent", ""},
		{"JSONArray", "PUT {P}/plain/new", `[]`, nil, 400, "InvalidRequestContent", ""},
		{"JSONDeep", "PUT {P}/plain/new", `{"properties":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, nil, 400, "InvalidRequestContent", ""},
		{"Member", "PUT {P}/plain/new", `{"location":"eastus","colour":1}`, nil, 400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Could not find member 'colour' on object of type 'ResourceDefinition'. Path 'colour''."},
		{"LocationType", "PUT {P}/plain/new", `{"location":7}`, nil, 400, "InvalidRequestContent", ""},
		{"PropertiesType", "PUT {P}/plain/new", `{"location":"eastus","properties":"x"}`, nil, 400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Error converting value \"x\" to type 'object'. Path 'properties''."},
		{"NameInBody", "PUT {P}/plain/new", `{"location":"eastus","name":"other"}`, nil, 400, "InvalidResourceName", ""},
		{"LocationRequired", "PUT {P}/plain/new", `{}`, nil, 400, "LocationRequired", "The location property is required for this definition."},
		{"LocationRequiredNoBody", "PUT {P}/plain/new", ``, nil, 400, "LocationRequired", ""},
		{"Region", "PUT {P}/plain/new", `{"location":"moon"}`, nil, 400, "LocationNotAvailableForResourceType", "The provided location 'moon' is not available for resource type 'Microsoft.Things/plain'. List of available regions for the resource type is 'eastasia,"},
		{"LocationChange", "PUT {P}/plain/p", `{"location":"westus"}`, nil, 409, "InvalidResourceLocation", "The resource 'p' already exists in location 'eastus2' in resource group 'g'. A resource with the same name cannot be created in location 'westus'. Please select a new resource name."},
		{"TooManyTags", "PUT {P}/plain/p", `{"location":"eastus2","tags":{` + strings.Join(many, ",") + `}}`, nil, 400, "TooManyTags", ""},
		{"TagName", "PUT {P}/plain/p", `{"location":"eastus2","tags":{"a<b":"c"}}`, nil, 400, "InvalidTagNameCharacters", `The tag names 'a<b' have reserved characters '<,>,%,&,\,?,/' or control characters.`},
		{"TagNameLength", "PUT {P}/plain/p", `{"location":"eastus2","tags":{"` + strings.Repeat("n", 513) + `":"c"}}`, nil, 400, "InvalidTagNameLength", ""},
		{"TagValueLength", "PUT {P}/plain/p", `{"location":"eastus2","tags":{"n":"` + strings.Repeat("v", 257) + `"}}`, nil, 400, "InvalidTagValueLength", ""},
		{"TagType", "PUT {P}/plain/p", `{"location":"eastus2","tags":{"n":{}}}`, nil, 400, "InvalidRequestContent", ""},
		{"NameCharacters", "PUT {P}/plain/a%3Cb", plainBody, nil, 400, "InvalidResourceName", "The provided resource name 'a<b' has these invalid characters: '<'."},
		{"NameEnd", "PUT {P}/plain/ab.", plainBody, nil, 400, "InvalidResourceName", ""},
		{"NameLength", "PUT {P}/plain/" + strings.Repeat("a", 261), plainBody, nil, 400, "InvalidResourceName", ""},
		{"NameRule", "PUT {P}/whole/A1", "{}", nil, 400, "InvalidResourceName", ""},
		{"Enum", "PUT {P}/plain/new", `{"location":"eastus","properties":{"size":"Tiny"}}`, nil, 400, "InvalidParameter", "The value 'Tiny' of parameter 'properties.size' is not allowed. Allowed values are: Small, Large, Enormous."},
		{"SchemaType", "PUT {P}/plain/new", `{"location":"eastus","properties":{"count":"many"}}`, nil, 400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: 'Error converting value \"many\" to type 'integer'. Path 'properties.count''."},
		{"Range", "PUT {P}/plain/new", `{"location":"eastus","properties":{"count":11}}`, nil, 400, "InvalidParameter", "The value '11' of parameter 'properties.count' is out of range, the minimum is 1, the maximum is 10."},
		{"Admit", "PUT {P}/waiting/new", `{"location":"eastus","properties":{"size":"enormous"}}`, nil, 400, "InvalidParameter", "The size 'Enormous' is not available."},
		{"IfMatch", "PUT {P}/plain/p", plainBody, []string{`If-Match: "old"`}, 412, "PreconditionFailed", `The precondition given by one of the request headers evaluated to false. The etag '"old"' provided in the header If-Match does not fit the resource's etag `},
		{"IfMatchAbsent", "PUT {P}/plain/new", plainBody, []string{`If-Match: *`}, 412, "PreconditionFailed", ""},
		{"IfMatchDelete", "DELETE {P}/plain/p", "", []string{`If-Match: "old"`}, 412, "PreconditionFailed", ""},
		{"IfNoneMatch", "PUT {P}/plain/p", plainBody, []string{`If-None-Match: *`}, 412, "PreconditionFailed", ""},
		{"Top", "GET {P}/plain?$top=0", "", nil, 400, "InvalidTopParameter", ""},
		{"SkipToken", "GET {P}/plain?$skiptoken=xxx", "", nil, 400, "InvalidSkipToken", "The provided skip token 'xxx' is invalid."},
		{"Filter", "GET {SUB}/resources?$filter=colour%20eq%20%27x%27", "", nil, 400, "InvalidFilterInQueryString", "Invalid $filter 'colour eq 'x'' specified in the query string."},
		{"QueryVersion", "GET {SUB}/providers/Microsoft.Things/locations/eastus/sizes?api-version=2017-01-01", "", nil, 400, "InvalidApiVersionParameter", ""},
		{"QueryMethod", "POST {SUB}/providers/Microsoft.Things/locations/eastus/sizes", "", nil, 405, "MethodNotAllowed", ""},
		{"Provider", "POST {SUB}/providers/Microsoft.Nope/register", "", nil, 404, "InvalidResourceNamespace", ""},
		{"InUse", "DELETE {P}/guarded/lock", "", nil, 400, "InUse", "lock is in use by abc."},
		{"TooLarge", "PUT {P}/plain/new", `{"location":"` + strings.Repeat("x", 5<<20) + `"}`, nil, 413, "RequestContentTooLarge", "The request content size exceeds the maximum size of '4 MB'."},
		{"Metadata", "GET /metadata/endpoints!", "", nil, 400, "MissingApiVersionParameter", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.group()
			r.must(201, "PUT {P}/plain/p", plainBody)
			r.must(201, "PUT {P}/whole/abc", "{}")
			r.must(201, "PUT {P}/guarded/lock", "{}")
			r.must(201, "PUT {P}/compute/c", plainBody)
			r.until("compute done", func() bool {
				return r.do("GET {P}/compute/c", "").get("properties.provisioningState") == "Succeeded"
			})
			before := r.do("GET {SUB}/resources?$top=1000", "").body
			etag := r.do("GET {P}/plain/p", "").header.Get("Etag")
			a := r.do(tt.request, tt.body, tt.headers...)
			if a.status != tt.status || a.get("error.code") != tt.code {
				t.Fatalf("got %d %v, want %d %s: %s", a.status, a.get("error.code"), tt.status, tt.code, a.body)
			}
			if msg, _ := a.get("error.message").(string); tt.message != "" && !strings.HasPrefix(msg, tt.message) {
				t.Errorf("message\n%q, want\n%q", msg, tt.message)
			}
			if a.header.Get("Content-Type") != "application/json; charset=utf-8" || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) || a.header.Get("X-Ms-Request-Id") == "" {
				t.Errorf("headers %v", a.header)
			}
			if tt.status == 405 && a.header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if after := r.do("GET {SUB}/resources?$top=1000", "").body; after != before {
				t.Errorf("resources changed\n%s\n%s", before, after)
			}
			if now := r.do("GET {P}/plain/p", "").header.Get("Etag"); now != etag {
				t.Errorf("etag changed from %s to %s", etag, now)
			}
		})
	}
}

// Ensure that the target names the field.
func TestErrorTarget(t *testing.T) {
	r := newRig(t)
	r.group()
	if a := r.do("PUT {P}/plain/x", `{"location":"eastus","properties":{"COUNT":0}}`); a.get("error.target") != "properties.count" {
		t.Error(a.body)
	}
	if a := r.do("PUT {P}/plain/x", `{}`); a.get("error.target") != "location" {
		t.Error(a.body)
	}
}

func TestDeclarations(t *testing.T) {
	versions := arm.Versions{From: "2018-01-01"}
	for name, p := range map[string][]arm.Provider{
		"Twice":       {{Namespace: "A.B"}, {Namespace: "a.b"}},
		"Namespace":   {{Namespace: ""}},
		"OtherType":   {{Namespace: "A.B", Types: []arm.Type{{Name: "A.C/x", Versions: versions}}}},
		"TypeTwice":   {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x"}, {Name: "A.B/X"}}}},
		"NoParent":    {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x/y"}}}},
		"Begin":       {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x", Actions: map[string]arm.Action{"go": {}}}}}},
		"Template":    {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x", PutNew: arm.LRO{Location: "{bse}/x"}}}}},
		"SchemaType":  {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x", Schema: &arm.Schema{Type: "objekt"}}}}},
		"SchemaNames": {{Namespace: "A.B", Types: []arm.Type{{Name: "A.B/x", Schema: &arm.Schema{Required: []string{"y"}}}}}},
		"Query":       {{Namespace: "A.B", Queries: []arm.Query{{Method: http.MethodGet}}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			cfg := r.cfg
			cfg.Providers = p
			if _, err := arm.New(cfg); err == nil {
				t.Error("New took it")
			}
		})
	}
}
