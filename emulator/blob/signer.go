package blob

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// signVersion is the sv of the signatures that the service makes itself; the clients of 2018 know it.
const signVersion = "2018-03-28"

// SAS returns the https URL of a blob (of the container where name is empty)
// with a service SAS for permissions such as "r" or "rcw", good until expiry.
// The container must exist; the blob need not.
func (s *Service) SAS(ctx context.Context, account, container, name, permissions string, expiry time.Time) (string, error) {
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	a, err := s.account(ctx, account)
	if err != nil {
		return "", err
	}
	if _, err := s.container(ctx, a, containerKeys, container); err != nil {
		return "", err
	}
	sorted, err := orderPermissions(permissions)
	if err != nil {
		return "", err
	}
	q := url.Values{
		"sv": {signVersion}, "sr": {"c"}, "sp": {sorted}, "se": {expiry.UTC().Format("2006-01-02T15:04:05Z")},
	}
	resource := "/" + account + "/" + container
	path := "/" + container
	if name != "" {
		if err := checkBlobName(name); err != nil {
			return "", err
		}
		q.Set("sr", "b")
		resource += "/" + name
		path += "/" + name
	}
	c := call{svc: blobService}
	q.Set("sig", base64.StdEncoding.EncodeToString(sign(a.Keys[0], c.serviceText(q, resource))))
	u := url.URL{Scheme: "https", Host: account + ".blob." + s.cfg.Suffix, Path: path, RawQuery: q.Encode()}
	return u.String(), nil
}

// permissionOrder is how the service wants the letters of sp ordered.
const permissionOrder = "racwdxyltmeopi"

func orderPermissions(p string) (string, error) {
	out := ""
	for _, letter := range permissionOrder {
		if strings.ContainsRune(p, letter) {
			out += string(letter)
		}
	}
	if out == "" || strings.Trim(p, permissionOrder) != "" {
		return "", fmt.Errorf("blob: permissions %q: want letters of %q", p, permissionOrder)
	}
	return out, nil
}
