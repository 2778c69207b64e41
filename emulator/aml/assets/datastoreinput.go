package assets

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// Names as Azure storage has them.
var (
	accountName   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]{3,24}$`) })
	containerName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62})$`) })
)

func oneOf(target, value string, allowed ...string) (string, error) {
	for _, a := range allowed {
		if strings.EqualFold(a, value) {
			return a, nil
		}
	}
	return "", plane.BadRequest(target, "The value '%s' of '%s' is not valid; it must be one of %s.", value, target, strings.Join(allowed, ", "))
}

func missing(target string) error {
	return plane.BadRequest(target, "The field '%s' is missing.", target)
}

// readDatastore reads and checks a DataStore; name is the one in the path, empty at creation.
func (s *Service) readDatastore(w http.ResponseWriter, r *http.Request, name string) (datastore, error) {
	var in datastoreDto
	if err := plane.ReadJSON(w, r, &in); err != nil {
		return datastore{}, err
	}
	if name == "" {
		if in.Name == "" {
			return datastore{}, missing("name")
		}
		if !datastoreName().MatchString(in.Name) {
			return datastore{}, plane.BadRequest("name", "The datastore name '%s' is not valid: it may hold letters, digits and underscores alone, 255 at most.", in.Name)
		}
		name = in.Name
	} else if in.Name != "" && !strings.EqualFold(in.Name, name) {
		return datastore{}, plane.BadRequest("name", "The datastore name '%s' in the body is not the '%s' in the path.", in.Name, name)
	}
	if in.Type == "" {
		return datastore{}, missing("dataStoreType")
	}
	kind, err := oneOf("dataStoreType", in.Type, typeBlob, typeShare, typeLake)
	if err != nil {
		return datastore{}, err
	}
	d := datastore{Name: name, Type: kind}
	if kind == typeLake {
		if in.Lake == nil {
			return d, missing("azureDataLakeSection")
		}
		d.Lake = in.Lake
		return d, d.Lake.check()
	}
	if in.Storage == nil {
		return d, missing("azureStorageSection")
	}
	d.Storage = in.Storage
	return d, s.checkStorage(r.Context(), d.Storage)
}

func (l *lakeSection) check() error {
	switch {
	case l.StoreName == "":
		return missing("azureDataLakeSection.storeName")
	case l.TenantID == "":
		return missing("azureDataLakeSection.tenantId")
	case l.ClientID == "":
		return missing("azureDataLakeSection.clientId")
	case !l.IsCertAuth && (l.ClientSecret == nil || *l.ClientSecret == ""):
		return missing("azureDataLakeSection.clientSecret")
	case l.IsCertAuth && (l.Certificate == nil || *l.Certificate == ""):
		return missing("azureDataLakeSection.certificate")
	}
	return nil
}

// checkStorage completes the section with the service's defaults and folds
// the credential, which clients of different years send in different fields, to one.
func (s *Service) checkStorage(ctx context.Context, sec *storageSection) error {
	const at = "azureStorageSection."
	var err error
	switch {
	case sec.AccountName == "":
		return missing(at + "accountName")
	case !accountName().MatchString(sec.AccountName):
		return plane.BadRequest(at+"accountName", "The storage account name '%s' is not valid: it must be 3 to 24 lower-case letters and digits.", sec.AccountName)
	case sec.ContainerName == "":
		return missing(at + "containerName")
	case !containerName().MatchString(sec.ContainerName):
		return plane.BadRequest(at+"containerName", "The container name '%s' is not valid.", sec.ContainerName)
	}
	if sec.Endpoint == "" {
		sec.Endpoint = "core.windows.net"
	}
	if sec.Protocol == "" {
		sec.Protocol = "https"
	}
	if sec.Protocol, err = oneOf(at+"protocol", sec.Protocol, "https", "http"); err != nil {
		return err
	}
	if sec.CredentialType == "" {
		sec.CredentialType = credNone
	}
	if sec.CredentialType, err = oneOf(at+"credentialType", sec.CredentialType, credNone, credSAS, credKey); err != nil {
		return err
	}
	for _, c := range []*string{sec.AccountKey, sec.SasToken} {
		if sec.Credential == nil || *sec.Credential == "" {
			sec.Credential = c
		}
	}
	sec.AccountKey, sec.SasToken, sec.IsSas = nil, nil, sec.CredentialType == credSAS
	if sec.CredentialType == credNone {
		sec.Credential = nil
		return nil
	}
	if sec.Credential == nil || *sec.Credential == "" {
		return missing(at + "credential")
	}
	if sec.CredentialType != credKey {
		return nil
	}
	if _, err := base64.StdEncoding.DecodeString(*sec.Credential); err != nil {
		return plane.BadRequest(at+"credential", "The account key of storage account '%s' is not valid base64.", sec.AccountName)
	}
	keys, err := s.blobs.Keys(ctx, sec.AccountName)
	if errors.Is(err, store.ErrNotFound) {
		return nil // an account elsewhere: whether its key is right shows when it is used
	}
	if err == nil && !slices.Contains(keys[:], *sec.Credential) {
		return plane.BadRequest(at+"credential", "The account key is not one of storage account '%s'.", sec.AccountName)
	}
	return err
}

// checkContainer makes the container if the client says createIfNotExists,
// and else refuses one that is not there, where the account is here.
func (s *Service) checkContainer(ctx context.Context, d datastore, create bool) error {
	files, hasShares := s.blobs.(shares)
	if d.Type == typeLake || d.Type == typeShare && !(hasShares && create) {
		return nil
	}
	sec := d.Storage
	if _, err := s.blobs.Keys(ctx, sec.AccountName); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	if create {
		// As with Azure, the credential decides; a SAS of a container can't make it.
		if sec.CredentialType != credKey {
			return plane.BadRequest("createIfNotExists", "The container '%s' can be created with an account key alone.", sec.ContainerName)
		}
		if d.Type == typeShare {
			return files.EnsureShare(ctx, sec.AccountName, sec.ContainerName)
		}
		return s.blobs.EnsureContainer(ctx, sec.AccountName, sec.ContainerName)
	}
	if _, _, err := s.blobs.List(ctx, sec.AccountName, sec.ContainerName, "", "", 1); errors.Is(err, store.ErrNotFound) {
		return plane.BadRequest("azureStorageSection.containerName", "The container '%s' does not exist in storage account '%s'; createIfNotExists would create it.", sec.ContainerName, sec.AccountName)
	} else if err != nil {
		return err
	}
	return nil
}

// containerURL opens the container by what the datastore has: the workspace's
// own account, the stored key, the stored SAS, or nothing.
func (s *Service) containerURL(ctx context.Context, d datastore, expiry time.Time) (string, error) {
	sec := d.Storage
	if d.Own {
		return s.blobs.SAS(ctx, sec.AccountName, sec.ContainerName, "", "rwdl", expiry)
	}
	base := sec.Protocol + "://" + sec.AccountName + ".blob." + sec.Endpoint + "/" + sec.ContainerName
	cred, err := s.credential(ctx, d)
	if err != nil || cred == "" {
		return base, err
	}
	if sec.CredentialType == credSAS {
		return base + "?" + strings.TrimPrefix(cred, "?"), nil
	}
	return signContainer(base, sec.AccountName, sec.ContainerName, cred, "rwdl", expiry)
}

// signContainer makes a container's service SAS of version 2018-03-28.
func signContainer(base, account, container, accountKey, permissions string, expiry time.Time) (string, error) {
	k, err := base64.StdEncoding.DecodeString(accountKey)
	if err != nil {
		return "", err
	}
	const version = "2018-03-28"
	se := expiry.UTC().Format("2006-01-02T15:04:05Z")
	// permissions, start, expiry, resource, identifier, IP, protocol, version, five response headers
	text := strings.Join([]string{permissions, "", se, "/blob/" + account + "/" + container, "", "", "", version, "", "", "", "", ""}, "\n")
	mac := hmac.New(sha256.New, k)
	_, _ = mac.Write([]byte(text))
	q := url.Values{"sv": {version}, "sr": {"c"}, "sp": {permissions}, "se": {se},
		"sig": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
	return base + "?" + q.Encode(), nil
}
