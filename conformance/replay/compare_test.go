package replay_test

import (
	"net/http"
	"strings"
	"testing"

	"lazulite.dev/conformance/replay"
)

const jsonType = "application/json; charset=utf-8"

func answer(status int, body string, headers ...string) replay.Answer {
	h := http.Header{}
	if body != "" {
		h.Set("Content-Type", jsonType)
	}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return replay.Answer{Status: status, Header: h, Body: body}
}

func TestCompare(t *testing.T) {
	const (
		guidA = "be866875-2dd9-4a78-83fc-db5a9697f779"
		guidB = "11111111-2222-4333-8444-555555555555"
		opA   = "https://management.azure.com/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.BatchAI/locations/northeurope/operationresults/" + guidA + "?api-version=2018-05-01"
		opB   = "http://127.0.0.1:9/subscriptions/99999999-2222-4333-8444-555555555555/providers/Microsoft.BatchAI/locations/northeurope/operationresults/" + guidB + "?api-version=2018-05-01"
	)
	for _, row := range []struct {
		name, method string
		rec, live    replay.Answer
		want         []string // differences
		notes        []string
	}{
		{"OK same", "GET", answer(200, `{"a":1}`), answer(200, `{"a":2}`), nil, nil},
		{"OK operation with other ids", "PUT", answer(202, "", "Azure-AsyncOperation", opA), answer(202, "", "Azure-AsyncOperation", opB), nil, nil},
		{"OK path in another case", "PUT", answer(202, "", "Location", opA), answer(202, "", "Location", strings.Replace(opB, "locations", "LOCATIONS", 1)), nil, nil},
		{"OK null stands for anything", "GET", answer(200, `{"a":null,"b":null}`), answer(200, `{"a":"x"}`), nil, nil},
		{"OK more fields are a note", "GET", answer(200, `{"a":1}`), answer(200, `{"a":1,"b":{"c":1}}`), nil, []string{"body b: recorded missing, answered object"}},
		{"OK keys that are ids", "GET", answer(200, `{"ids":{"/subscriptions/a":{"p":1}}}`), answer(200, `{"ids":{"/subscriptions/b":{"p":2}}}`), nil, nil},
		{"OK fields of items are found in any", "GET", answer(200, `{"value":[{"a":1},{"b":1}]}`), answer(200, `{"value":[{"b":1},{"a":1}]}`), nil, nil},
		{"OK later state of a GET", "GET", answer(200, `{"properties":{"allocationState":"resizing"}}`), answer(200, `{"properties":{"allocationState":"steady"}}`),
			nil, []string{"state properties.allocationState: recorded resizing, answered steady"}},
		{"OK deployment names were scrubbed", "PUT",
			answer(201, `{}`, "Azure-AsyncOperation", "https://management.azure.com/subscriptions/"+guidA+"/resourcegroups/g/providers/Microsoft.Resources/deployments/vm_deploy_x/operationStatuses/08586634324952334561?api-version=2018-05-01"),
			answer(201, `{}`, "Azure-AsyncOperation", "http://127.0.0.1:9/subscriptions/"+guidB+"/resourcegroups/g/providers/Microsoft.Resources/deployments/mock-deployment/operationStatuses/08586634324952339999?api-version=2018-05-01"), nil, nil},
		{"OK an etag more is a note", "GET", answer(200, `{}`), answer(200, `{}`, "ETag", `"1"`), nil, []string{"header ETag: recorded none, answered present"}},
		{"OK retry-after was scrubbed", "PUT", answer(202, ""), answer(202, "", "Retry-After", "1"), nil, nil},

		{"ErrStatus", "PUT", answer(201, `{}`), answer(200, `{}`), []string{"status: recorded 201, answered 200"}, nil},
		{"ErrStatus with code and nothing more", "GET", answer(200, `{"a":1}`), answer(404, `{"error":{"code":"ResourceNotFound","message":"m"}}`),
			[]string{"status: recorded 200, answered 404 ResourceNotFound"}, nil},
		{"ErrCode", "GET", answer(404, `{"error":{"code":"ClusterNotFound","message":"m"}}`), answer(404, `{"error":{"code":"ResourceNotFound","message":"m"}}`),
			[]string{"code: recorded ClusterNotFound, answered ResourceNotFound"}, nil},
		{"ErrHeader missing", "PUT", answer(202, "", "Azure-AsyncOperation", opA), answer(202, ""),
			[]string{"header Azure-AsyncOperation: recorded /subscriptions/{id}/providers/Microsoft.BatchAI/locations/northeurope/operationresults/{id}?api-version=2018-05-01, answered none"}, nil},
		{"ErrHeader more", "PUT", answer(200, `{}`), answer(200, `{}`, "Location", "http://127.0.0.1:9/x"), []string{"header Location: recorded none, answered /x"}, nil},
		{"ErrHeader elsewhere", "PUT", answer(202, "", "Location", opA), answer(202, "", "Location", strings.Replace(opB, "127.0.0.1:9", "example.org", 1)),
			[]string{"header Location: recorded /subscriptions/{id}/providers/Microsoft.BatchAI/locations/northeurope/operationresults/{id}?api-version=2018-05-01, answered //example.org/subscriptions/{id}/providers/Microsoft.BatchAI/locations/northeurope/operationresults/{id}?api-version=2018-05-01"}, nil},
		{"ErrHeader swapped words", "PUT", answer(202, "", "Location", "https://management.azure.com/a/operationstatuses/"+guidA), answer(202, "", "Location", "http://127.0.0.1:9/a/operationresults/"+guidA),
			[]string{"header Location: recorded /a/operationstatuses/{id}, answered /a/operationresults/{id}"}, nil},
		{"ErrETag", "GET", answer(200, `{}`, "ETag", `"1"`), answer(200, `{}`), []string{"header ETag: recorded present, answered none"}, nil},
		{"ErrContentType", "GET", answer(200, `{}`), answer(200, `{}`, "Content-Type", "text/plain"), []string{"header Content-Type: recorded application/json, answered text/plain"}, nil},
		{"ErrState of a PUT", "PUT", answer(201, `{"properties":{"provisioningState":"Pending"}}`), answer(201, `{"properties":{"provisioningState":"Succeeded"}}`),
			[]string{"state properties.provisioningState: recorded Pending, answered Succeeded"}, nil},
		{"ErrState case of the word", "GET", answer(200, `{"properties":{"provisioningState":"succeeded"}}`), answer(200, `{"properties":{"provisioningState":"Succeeded"}}`),
			[]string{"state properties.provisioningState: recorded succeeded, answered Succeeded"}, nil},
		{"ErrState power", "GET", answer(200, `{"statuses":[{"code":"PowerState/running"}]}`), answer(200, `{"statuses":[{"code":"PowerState/stopped"}]}`),
			[]string{"state statuses[].code: recorded PowerState/running, answered PowerState/stopped"}, nil},
		{"ErrShape missing subtree is told once", "GET", answer(200, `{"p":{"a":{"b":1,"c":2}}}`), answer(200, `{"p":{}}`), []string{"body p.a: recorded object, answered missing"}, nil},
		{"ErrShape type", "GET", answer(200, `{"a":"1"}`), answer(200, `{"a":1}`), []string{"body a: recorded string, answered number"}, nil},
		{"ErrShape null", "GET", answer(200, `{"a":"1"}`), answer(200, `{"a":null}`), []string{"body a: recorded string, answered null"}, nil},
		{"ErrShape case of a name", "GET", answer(200, `{"vmSize":"1"}`), answer(200, `{"vmsize":"1"}`), []string{"body vmSize: recorded the name vmSize, answered the name vmsize"}, nil},
		{"ErrShape empty list", "GET", answer(200, `{"value":[{"a":1}]}`), answer(200, `{"value":[]}`), []string{"body value[]: recorded 1 items, answered none"}, nil},
		{"ErrShape item", "GET", answer(200, `{"value":[{"a":1,"b":1}]}`), answer(200, `{"value":[{"a":1}]}`), []string{"body value[].b: recorded number, answered missing"}, nil},
		{"ErrBody more", "DELETE", answer(202, ""), answer(202, `{}`), []string{"body: recorded empty, answered object"}, nil},
		{"ErrBody none", "GET", answer(200, `{}`), answer(200, ""), []string{"body: recorded object, answered empty"}, nil},
		{"ErrBody no JSON", "GET", answer(200, `{}`), answer(200, `<html>`), []string{"body: recorded object, answered no JSON"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			differences, notes := replay.Compare(row.method, "127.0.0.1:9", row.rec, row.live)
			expect(t, "differences", differences, row.want)
			expect(t, "notes", notes, row.notes)
		})
	}
}

func expect(t *testing.T, what string, got []replay.Difference, want []string) {
	t.Helper()
	var lines []string
	for _, d := range got {
		lines = append(lines, d.String())
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
