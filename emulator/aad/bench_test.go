package aad_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/aad"
	"lazulite.dev/emulator/store"
)

func benchAuthority(b *testing.B) *aad.Authority {
	b.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	a, err := aad.New(aad.Config{Store: st, Tenant: tenant, Clients: map[string]string{app: secret}})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// BenchmarkTokenRequest is the SDK's request before nearly every call, without the network.
func BenchmarkTokenRequest(b *testing.B) {
	a := benchAuthority(b)
	f := spForm("resource", arm)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "https://login.microsoftonline.com/"+tenant+"/oauth2/token", strings.NewReader(f))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		a.ServeHTTP(rec, r)
		if rec.Code != 200 {
			b.Fatal(rec.Body.String())
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	a := benchAuthority(b)
	token, err := a.Issue(context.Background(), aad.Claims{Audience: arm, AppID: app, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Verify(context.Background(), token, aad.AudienceManagement, aad.AudienceARM); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIssue signs every time: what a token request would cost without memory.
func BenchmarkIssue(b *testing.B) {
	a := benchAuthority(b)
	c := aad.Claims{Audience: arm, AppID: app, Expires: time.Now().Add(time.Hour)}
	for b.Loop() {
		if _, err := a.Issue(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
