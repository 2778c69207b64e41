package conformance_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/conformance"
)

// today is a stand-in for Azure since a provider's end: groups and tokens are
// there, and of the provider only what Resource Manager says of one that is no more.
func today(t *testing.T, provider, register, resource string) (endpoint string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.ToLower(r.URL.Path)
		answer := func(line string) {
			status, body, _ := strings.Cut(line, " ")
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(map[string]int{"200": 200, "201": 201, "404": 404, "409": 409}[status])
			_, _ = io.WriteString(w, body)
		}
		switch {
		case strings.HasSuffix(path, "/oauth2/token"):
			answer(`200 {"token_type":"Bearer","access_token":"a.b.c","expires_in":"3599"}`)
		case strings.HasSuffix(path, "/providers/microsoft.batchai/register"):
			answer(register)
		case strings.HasSuffix(path, "/providers/microsoft.batchai"):
			answer(provider)
		case strings.Contains(path, "/providers/microsoft.batchai/"):
			answer(resource)
		case strings.Contains(path, "/resourcegroups/") && !strings.Contains(path, "/providers/"):
			if r.Method == http.MethodPut {
				answer(`201 {"properties":{"provisioningState":"Succeeded"}}`)
			} else {
				answer(`200 {}`)
			}
		default:
			answer(`404 {"error":{"code":"InvalidResourceNamespace","message":"The resource namespace is invalid."}}`)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// What Azure retired is told as that, in each of the ways in which Resource
// Manager says that a provider or a type is not there, and is no one's failure.
func TestRetired(t *testing.T) {
	const (
		registered   = `200 {"namespace":"Microsoft.BatchAI","registrationState":"Registered","resourceTypes":[]}`
		unregistered = `200 {"namespace":"Microsoft.BatchAI","registrationState":"NotRegistered","resourceTypes":[]}`
		noNamespace  = `404 {"error":{"code":"InvalidResourceNamespace","message":"The resource namespace 'Microsoft.BatchAI' is invalid."}}`
		noType       = `404 {"error":{"code":"InvalidResourceType","message":"The resource type could not be found in the namespace 'Microsoft.BatchAI' for api version '2018-05-01'."}}`
		noSub        = `409 {"error":{"code":"MissingSubscriptionRegistration","message":"The subscription is not registered to use namespace 'Microsoft.BatchAI'."}}`
		failing      = `409 {"error":{"code":"Conflict","message":"no"}}`
	)
	for _, row := range []struct {
		name                         string
		provider, register, resource string
		want                         conformance.Status
		detail                       string
	}{
		{"the namespace is gone", noNamespace, noNamespace, noNamespace, conformance.Unsupported, "InvalidResourceNamespace"},
		{"it can't be registered", unregistered, noNamespace, noSub, conformance.Unsupported, "is not registered"},
		{"it has no types", registered, registered, noType, conformance.Unsupported, "InvalidResourceType"},
		{"the subscription lacks it", registered, registered, noSub, conformance.Unsupported, "MissingSubscriptionRegistration"},
		{"ErrFault", registered, registered, failing, conformance.Fail, "Conflict"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := conformance.NewConfig()
			cfg.Endpoint = today(t, row.provider, row.register, row.resource)
			cfg.Authority = cfg.Endpoint
			cfg.Tenant, cfg.ClientID, cfg.ClientSecret, cfg.Subscription = "t", "c", "s", "99999999-2222-4333-8444-555555555555"
			cfg.Budget.Cost, cfg.Budget.Operation = conformance.FreeOfCost, time.Second
			cfg.Targets, cfg.Labels = []string{"batchai"}, "target:batchai && core || /^batchai.(workspace|cluster|job)/"
			rep, err := conformance.Run(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for _, r := range rep.Results {
				if r.Status == conformance.Disabled {
					continue
				}
				asked++
				retired := strings.HasPrefix(r.Detail, "Azure retired it on 2019-03-31: ")
				if row.want == conformance.Unsupported && (r.Status != row.want || !retired || !strings.Contains(r.Detail, row.detail)) {
					t.Errorf("%s: %s (%s)", r.ID, r.Status, r.Detail)
				}
				if row.want == conformance.Fail && (retired || asked == 1 && (r.Status != row.want || !strings.Contains(r.Detail, row.detail))) {
					t.Errorf("%s: %s (%s); what fails otherwise is no retirement", r.ID, r.Status, r.Detail)
				}
			}
			if asked < 15 {
				t.Errorf("only %d requirements were asked", asked)
			}
			if failed := rep.Count(conformance.Fail) > 0; failed != (row.want == conformance.Fail) {
				t.Errorf("failed: %v", failed)
			}
		})
	}
}
