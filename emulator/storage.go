package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
	"lazulite.dev/emulator/store"
)

// storageName is the rule of Microsoft.Storage; a name is a host name's label, so it is unique in the whole cloud.
var storageName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

const storageOperation = "{base}/subscriptions/{subscription}/providers/Microsoft.Storage/locations/{location}/asyncoperations/{operation}?monitor=true&api-version={version}"

// storageTime is the format of the dates in a storage account.
const storageTime = "2006-01-02T15:04:05.0000000Z"

// storageProvider is Microsoft.Storage/storageAccounts, over the blob service that serves the account.
func storageProvider(b *blob.Service, tenant string) arm.Provider {
	accounts := storageAccounts{b, tenant}
	return arm.Provider{Namespace: "Microsoft.Storage", Registered: true,
		Authorizations: []arm.Authorization{{ApplicationID: "a6aa9161-5291-40bb-8c5c-923b567bee3b", RoleDefinitionID: "070ab87f-0efc-4423-b18b-756f3bdb0236"}},
		Types: []arm.Type{{
			Name: "Microsoft.Storage/storageAccounts", Versions: storageVersions, Tracked: true,
			Profiles:   map[string]string{"2017-03-09-profile": "2016-01-01", "2018-03-01-hybrid": "2016-01-01", "2018-06-01-profile": "2017-10-01"},
			PutNew:     arm.LRO{Status: http.StatusAccepted, NoBody: true, Location: storageOperation},
			Admit:      accounts.admit,
			Reconciler: accounts,
			Actions: map[string]arm.Action{
				"listKeys":      {ReadOnly: true, Sync: accounts.listKeys},
				"regenerateKey": {Sync: accounts.regenerateKey},
			},
		}},
		Queries: []arm.Query{{Method: http.MethodPost, Pattern: "checkNameAvailability", Versions: arm.Versions{From: "2015-06-15"}, Do: accounts.checkName}},
	}
}

type storageAccounts struct {
	blob   *blob.Service
	tenant string
}

// storageVersions are those that the provider's description named in autumn 2018; later ones are taken too.
var storageVersions = arm.Versions{From: "2015-05-01-preview", Known: []string{"2018-07-01", "2018-03-01-preview", "2018-02-01", "2017-10-01", "2017-06-01", "2016-12-01",
	"2016-05-01", "2016-01-01", "2015-06-15", "2015-05-01-preview"}}

func (s storageAccounts) admit(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	name := next.ID.Name()
	if !storageName.MatchString(name) {
		return &arm.Error{Status: http.StatusBadRequest, Code: "AccountNameInvalid",
			Message: name + " is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."}
	}
	p, before := map[string]any{}, map[string]any{}
	if len(next.Properties) > 0 {
		if err := json.Unmarshal(next.Properties, &p); err != nil {
			return err
		}
	}
	if old != nil {
		if err := json.Unmarshal(old.Properties, &before); err != nil {
			return err
		}
		for k, v := range before {
			if _, ok := p[k]; !ok {
				p[k] = v
			}
		}
	} else if taken, err := s.taken(ctx, name); err != nil {
		return err
	} else if taken {
		return errAccountTaken(name)
	} else if wanted, err := s.wanted(ctx, v, name); err != nil {
		return err
	} else if wanted {
		return errAccountTaken(name)
	}
	var sku struct{ Name, Tier string }
	if len(next.SKU) > 0 {
		if err := json.Unmarshal(next.SKU, &sku); err != nil {
			return badContent(err)
		}
	}
	// Before 2016-01-01 the SKU was a property.
	if kind, ok := p["accountType"].(string); ok && sku.Name == "" && arm.CompareVersions(c.Version, "2016-01-01") < 0 {
		sku.Name = kind
	}
	delete(p, "accountType")
	if sku.Name == "" {
		return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidRequestPropertyValue", Target: "sku.name", Message: "The value of property 'sku.name' is required."}
	}
	tier, _, _ := strings.Cut(sku.Name, "_")
	next.SKU, _ = json.Marshal(map[string]string{"name": sku.Name, "tier": tier})
	if next.Kind == "" {
		next.Kind = "Storage"
	}
	stamp := next.Created.UTC().Format(storageTime)
	keep(before, p, "creationTime", stamp)
	p["primaryLocation"], p["statusOfPrimary"] = next.Location, "available"
	endpoints := map[string]string{}
	for _, service := range []string{"blob", "queue", "table", "file"} {
		endpoints[service] = fmt.Sprintf("https://%s.%s.core.windows.net/", name, service)
	}
	p["primaryEndpoints"] = endpoints
	defaults := map[string]any{
		"networkAcls":              map[string]any{"bypass": "AzureServices", "virtualNetworkRules": []any{}, "ipRules": []any{}, "defaultAction": "Allow"},
		"supportsHttpsTrafficOnly": false,
		"trustedDirectories":       []string{s.tenant},
	}
	// Encryption can't be turned off, whatever is asked; templates of 2018 ask for it in strings.
	encryption, _ := p["encryption"].(map[string]any)
	if encryption == nil {
		encryption = map[string]any{"keySource": "Microsoft.Storage"}
	}
	encryption["services"] = map[string]any{
		"file": map[string]any{"enabled": true, "lastEnabledTime": stamp}, "blob": map[string]any{"enabled": true, "lastEnabledTime": stamp}}
	p["encryption"] = encryption
	for k, v := range defaults {
		if _, ok := p[k]; !ok {
			p[k] = v
		}
	}
	var err error
	next.Properties, err = json.Marshal(p)
	return err
}

func (s storageAccounts) taken(ctx context.Context, name string) (bool, error) {
	_, err := s.blob.Keys(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// wanted says that a resource in whatever group has the name, or is about to get it.
func (s storageAccounts) wanted(ctx context.Context, v arm.View, name string) (bool, error) {
	all, err := v.List(ctx, arm.ID{}, "Microsoft.Storage/storageAccounts")
	if err != nil {
		return false, err
	}
	for _, r := range all {
		if r.ID.Name() == name && r.State != "Failed" {
			return true, nil
		}
	}
	return false, nil
}

func errAccountTaken(name string) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "StorageAccountAlreadyTaken", Message: "The storage account named " + name + " is already taken."}
}

// badContent is what Azure answers to JSON that does not fit.
func badContent(err error) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidRequestContent", Message: "The request content was invalid and could not be deserialized: '" + err.Error() + "'."}
}

// Reconcile makes the account's keys, or takes the account's contents away. Of
// two resources that were accepted at the same instant with one name, one gets the account.
func (s storageAccounts) Reconcile(ctx context.Context, _ arm.View, r *arm.Resource) (arm.Result, error) {
	name, owner := r.ID.Name(), r.ID.Key()
	if !r.Deleting {
		err := s.blob.ClaimAccount(ctx, name, owner)
		if errors.Is(err, blob.ErrOwned) {
			return arm.Result{}, errAccountTaken(name)
		}
		return arm.Result{Done: err == nil}, err
	}
	has, err := s.blob.AccountOwner(ctx, name)
	if err == nil && (has == owner || has == "") {
		err = s.blob.DeleteAccount(ctx, name)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return arm.Result{}, err
	}
	return arm.Result{Done: true}, nil
}

func (s storageAccounts) listKeys(ctx context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	keys, err := s.blob.Keys(ctx, r.ID.Name())
	if err != nil {
		return 0, nil, err
	}
	var list []map[string]string
	for i, k := range keys {
		list = append(list, map[string]string{"keyName": fmt.Sprintf("key%d", i+1), "value": k, "permissions": "FULL"})
	}
	return http.StatusOK, map[string]any{"keys": list}, nil
}

func (s storageAccounts) regenerateKey(ctx context.Context, v arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	var body struct {
		KeyName string `json:"keyName"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil || body.KeyName != "key1" && body.KeyName != "key2" {
		return 0, nil, &arm.Error{Status: http.StatusBadRequest, Code: "InvalidRequestPropertyValue", Target: "keyName",
			Message: "The value '" + body.KeyName + "' is not allowed for property keyName. It must be key1 or key2."}
	}
	if err := s.blob.RegenerateKey(ctx, r.ID.Name(), int(body.KeyName[3]-'1')); err != nil {
		return 0, nil, err
	}
	return s.listKeys(ctx, v, c, r)
}

func (s storageAccounts) checkName(ctx context.Context, c arm.Call) (any, error) {
	var body struct{ Name, Type string }
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return nil, badContent(err)
	}
	if !storageName.MatchString(body.Name) {
		return map[string]any{"nameAvailable": false, "reason": "AccountNameInvalid", "message": body.Name +
			" is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."}, nil
	}
	taken, err := s.taken(ctx, body.Name)
	if err != nil {
		return nil, err
	}
	if taken {
		return map[string]any{"nameAvailable": false, "reason": "AlreadyExists", "message": "The storage account named " + body.Name + " is already taken."}, nil
	}
	return map[string]any{"nameAvailable": true}, nil
}
