package emulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/blob"
)

// passive is a resource type that a workspace leans on and that does nothing
// by itself: it keeps what it was given, with the defaults of its service.
type passive struct {
	namespace, name string
	versions        arm.Versions
	put             arm.LRO
	rule            *regexp.Regexp
	ruleText        string
	// taken is the refusal of a name that another has, where a name is a host in the whole cloud.
	taken func(name string) *arm.Error
	// authorizations of the provider, as its description shows them.
	authorizations []arm.Authorization
	// slow answers a PUT before it is done: it is Creating then, and Succeeded when it is read.
	slow bool
	// actions of the type by name, of which each gives a body.
	actions map[string]func(r *arm.Resource) any
	// fill completes properties on create and update; old is nil on create.
	fill func(r *arm.Resource, old, p map[string]any)
}

var passives = []passive{
	{
		namespace: "Microsoft.KeyVault", name: "vaults", versions: arm.Versions{From: "2015-06-01"}, put: arm.LRO{Status: http.StatusOK},
		rule: regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`), ruleText: "3 to 24 letters, digits and hyphens, starting with a letter",
		taken: func(name string) *arm.Error {
			return &arm.Error{Status: http.StatusConflict, Code: "VaultAlreadyExists", Message: "The name '" + name + "' is already in use."}
		},
		fill: func(r *arm.Resource, _, p map[string]any) {
			p["vaultUri"] = "https://" + strings.ToLower(r.ID.Name()) + ".vault.azure.net/"
		},
	},
	{
		namespace: "Microsoft.ContainerRegistry", name: "registries", versions: arm.Versions{From: "2017-03-01"},
		rule: regexp.MustCompile(`^[a-zA-Z0-9]{5,50}$`), ruleText: "5 to 50 letters and digits",
		taken: func(name string) *arm.Error {
			return &arm.Error{Status: http.StatusConflict, Code: "AlreadyInUse", Message: "The registry DNS name " + strings.ToLower(name) + ".azurecr.io is already in use. You can check if the name is already claimed using following API: https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability"}
		},
		fill: func(r *arm.Resource, old, p map[string]any) {
			p["loginServer"] = strings.ToLower(r.ID.Name()) + ".azurecr.io"
			keep(old, p, "creationDate", r.Created.UTC().Format("2006-01-02T15:04:05.0000000Z"))
			if _, ok := p["adminUserEnabled"]; !ok {
				p["adminUserEnabled"] = false
			}
		},
	},
	{
		namespace: "Microsoft.Insights", name: "components", versions: arm.Versions{From: "2014-04-01"}, put: arm.LRO{Status: http.StatusOK},
		fill: func(r *arm.Resource, old, p map[string]any) {
			keep(old, p, "InstrumentationKey", uuid.NewString())
			keep(old, p, "AppId", uuid.NewString())
			keep(old, p, "CreationDate", r.Created.UTC().Format("2006-01-02T15:04:05.0000000Z"))
			p["ApplicationId"] = r.ID.Name()
		},
	},
	{
		namespace: "Microsoft.OperationalInsights", name: "workspaces", versions: arm.Versions{From: "2015-03-20"},
		put: arm.LRO{Status: http.StatusCreated}, slow: true,
		authorizations: []arm.Authorization{{ApplicationID: "d2a0a418-0aac-4541-82b2-b3142c89da77", RoleDefinitionID: "86695298-2eb9-48a7-9ec3-2fdb38b6878b"}},
		rule:           regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]$`), ruleText: "4 to 63 letters, digits and hyphens, a letter or digit at either end",
		fill: fillLogs, actions: map[string]func(*arm.Resource) any{"sharedKeys": sharedKeys},
	},
}

// userIdentities are identities of a tenant, which machines and containers can
// be given: they have their ids, and no rights.
func userIdentities(tenant string) passive {
	return passive{
		namespace: "Microsoft.ManagedIdentity", name: "userAssignedIdentities", versions: arm.Versions{From: "2015-08-31-preview"}, put: arm.LRO{Self: true},
		fill: func(r *arm.Resource, old, p map[string]any) {
			keep(old, p, "principalId", uuid.NewString())
			keep(old, p, "clientId", uuid.NewString())
			p["tenantId"] = tenant
			p["clientSecretUrl"] = fmt.Sprintf("https://control-%s.identity.azure.net%s/credentials?tid=%s&oid=%s&aid=%s", r.Location, r.ID, tenant, p["principalId"], p["clientId"])
		},
	}
}

// keep carries a server-made value over from old, or sets it the first time.
func keep(old, p map[string]any, field string, fresh any) {
	if v, ok := old[field]; ok {
		fresh = v
	}
	p[field] = fresh
}

// passiveProviders declares them, and the storage accounts, whose data plane is real.
func passiveProviders(b *blob.Service, tenant string) []arm.Provider {
	providers := []arm.Provider{storageProvider(b, tenant)}
	for _, row := range append([]passive{userIdentities(tenant)}, passives...) {
		providers = append(providers, arm.Provider{Namespace: row.namespace, Registered: true, Authorizations: row.authorizations, Types: []arm.Type{row.declare()}})
	}
	return providers
}

func (row passive) declare() arm.Type {
	t := arm.Type{
		Name: row.namespace + "/" + row.name, Versions: row.versions, Tracked: true,
		PutNew: row.put, PutOld: row.put,
		Admit: func(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
			if row.rule != nil && !row.rule.MatchString(next.ID.Name()) {
				return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidResourceName", Target: "name",
					Message: "The resource name '" + next.ID.Name() + "' is invalid. It must be " + row.ruleText + "."}
			}
			if old == nil && row.taken != nil {
				all, err := v.List(ctx, arm.ID{}, row.namespace+"/"+row.name)
				if err != nil {
					return err
				}
				for _, r := range all {
					if strings.EqualFold(r.ID.Name(), next.ID.Name()) {
						return row.taken(next.ID.Name())
					}
				}
			}
			var before map[string]any
			p := map[string]any{}
			if old != nil {
				if err := json.Unmarshal(old.Properties, &before); err != nil {
					return err
				}
			}
			if len(next.Properties) > 0 {
				if err := json.Unmarshal(next.Properties, &p); err != nil {
					return err
				}
			}
			row.fill(next, before, p)
			var err error
			next.Properties, err = json.Marshal(p)
			return err
		},
	}
	if row.slow {
		t.Reconciler, t.PutOld = atOnce{}, arm.LRO{Status: http.StatusOK}
	}
	for name, body := range row.actions {
		if t.Actions == nil {
			t.Actions = map[string]arm.Action{}
		}
		t.Actions[name] = arm.Action{ReadOnly: true, Sync: func(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
			return 0, body(r), nil
		}}
	}
	return t
}
