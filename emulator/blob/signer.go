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

// SignBlob is the https URL of a blob with a signature by the key that the
// caller was given, good until expiry. Neither the key nor the blob is looked for: the service does that
// when the URL is used.
func (s *Service) SignBlob(account, key, container, name, permissions string, expiry time.Time) (string, error) {
	if err := checkBlobName(name); err != nil {
		return "", err
	}
	return s.signOne(blobService, "b", account, key, container, name, permissions, expiry)
}

// SignFile is SignBlob for a file of a share.
func (s *Service) SignFile(account, key, share, path, permissions string, expiry time.Time) (string, error) {
	if err := checkFilePath(path); err != nil {
		return "", err
	}
	return s.signOne(fileService, "f", account, key, share, path, permissions, expiry)
}

// oneVersion is the sv of SignBlob and SignFile, as Batch AI's download URLs had it; their parameters have its order.
const oneVersion = "2016-05-31"

func (s *Service) signOne(svc service, kind, account, key, container, name, permissions string, expiry time.Time) (string, error) {
	if err := checkContainerName(container); err != nil {
		return "", err
	}
	sorted, err := orderPermissions(permissions)
	if err != nil {
		return "", err
	}
	q := url.Values{"sv": {oneVersion}, "sr": {kind}, "sp": {sorted}, "se": {expiry.UTC().Format("2006-01-02T15:04:05Z")}}
	c := call{svc: svc}
	sum := sign(key, c.serviceText(q, "/"+account+"/"+container+"/"+name))
	if sum == nil {
		return "", denied("The key of the account %q is not base64.", account)
	}
	q.Set("sig", base64.StdEncoding.EncodeToString(sum))
	query := ""
	for _, name := range []string{"sv", "sr", "sig", "se", "sp"} {
		query += "&" + name + "=" + url.QueryEscape(q.Get(name))
	}
	u := url.URL{Scheme: "https", Host: account + "." + svc.name + "." + s.cfg.Suffix, Path: "/" + container + "/" + name, RawQuery: query[1:]}
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
