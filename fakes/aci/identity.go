package aci

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/arm"
)

// groupIdentity is ContainerGroupIdentity of 2018-10-01.
type groupIdentity struct {
	UserAssigned map[string]*assignedIdentity `json:"userAssignedIdentities,omitempty"`
	PrincipalID  string                       `json:"principalId,omitempty"`
	TenantID     string                       `json:"tenantId,omitempty"`
	Type         string                       `json:"type"`
}

type assignedIdentity struct {
	PrincipalID string `json:"principalId"`
	ClientID    string `json:"clientId"`
}

var identityTypes = []string{"None", "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"}

// identity completes what the client asks for. A user-assigned identity that
// is a resource here has its own ids, any other the ones that its name gives.
func (f *Fake) identity(ctx context.Context, v arm.View, next, old *arm.Resource) (json.RawMessage, error) {
	var i, was groupIdentity
	if len(next.Identity) > 0 {
		if err := decode(next.Identity, &i); err != nil {
			return nil, err
		}
	}
	if old != nil && len(old.Identity) > 0 {
		if err := json.Unmarshal(old.Identity, &was); err != nil {
			return nil, err
		}
	}
	kind := ""
	for _, t := range identityTypes {
		if strings.EqualFold(strings.ReplaceAll(t, " ", ""), strings.ReplaceAll(i.Type, " ", "")) || i.Type == "" && t == "None" {
			kind = t
		}
	}
	if kind == "" {
		return nil, arm.InvalidParameter("identity.type", "The value '%s' of parameter 'identity.type' is not allowed. Allowed values are: %s.", i.Type, strings.Join(identityTypes, "; "))
	}
	out := groupIdentity{Type: kind}
	if kind == "None" {
		return json.Marshal(out)
	}
	out.TenantID = f.cfg.Tenant
	if strings.HasPrefix(kind, "SystemAssigned") {
		if out.PrincipalID = was.PrincipalID; out.PrincipalID == "" {
			out.PrincipalID = f.newID()
		}
	}
	if strings.HasSuffix(kind, "UserAssigned") {
		if len(i.UserAssigned) == 0 {
			return nil, arm.InvalidParameter("identity.userAssignedIdentities", "Required parameter 'identity.userAssignedIdentities' is missing (null).")
		}
		out.UserAssigned = map[string]*assignedIdentity{}
		for name := range i.UserAssigned {
			id, err := arm.ParseID(name)
			if err != nil {
				return nil, refuse("LinkedInvalidPropertyId", "identity.userAssignedIdentities", "Property id '%s' at path 'identity.userAssignedIdentities' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'.", name)
			}
			a, err := assigned(ctx, v, id)
			if err != nil {
				return nil, err
			}
			out.UserAssigned[name] = a
		}
	}
	return json.Marshal(out)
}

func assigned(ctx context.Context, v arm.View, id arm.ID) (*assignedIdentity, error) {
	var a assignedIdentity
	r, err := v.Get(ctx, id)
	var missing *arm.Error
	if errors.As(err, &missing) {
		made := func(what string) string {
			return uuid.NewSHA1(uuid.NameSpaceURL, []byte(what+lower(id.String()))).String()
		}
		return &assignedIdentity{made("principal"), made("client")}, nil
	} else if err != nil {
		return nil, err
	}
	return &a, json.Unmarshal(r.Properties, &a)
}
