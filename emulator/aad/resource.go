package aad

import "strings"

// knownPublicClients are Microsoft's own applications that developers sign in with.
func knownPublicClients() []string {
	return []string{
		"04b07795-8ddb-461a-bbee-02f9e1bf7b46", // az, and the azureml SDK
		"1950a258-227b-4e31-a9cf-717495945fc2", // Azure PowerShell
		"872cd9fa-d31f-45e0-9eab-6e460a02d1f1", // Visual Studio
		"aebc6443-996d-45c2-90f0-388ff96faa56", // Visual Studio Code
	}
}

// knownResources are the audiences that Azure's public cloud has in every tenant.
func knownResources() []string {
	return []string{
		AudienceManagement,
		AudienceARM,
		"https://graph.windows.net",
		"https://graph.microsoft.com",
		"https://storage.azure.com",
		"https://vault.azure.net",
		"https://batch.core.windows.net",
		"https://ml.azure.com",
		"https://database.windows.net",
		"https://datalake.azure.net",
		"https://containerregistry.azure.net",
		"https://cosmos.azure.com",
		"00000002-0000-0000-c000-000000000000", // Azure AD Graph
		"797f4846-ba00-4fd7-ba43-dac1f8f63013", // Azure Resource Manager
	}
}

// resource finds the audience that is asked for: by v1's resource, or by
// v2's scopes, of which one names it. scope is what v2 repeats in its answer.
func (a *Authority) resource(q *request, resource, scope string) (audience, scopes string, err error) {
	if !q.v2 && resource != "" {
		audience, ok := a.audience(resource)
		if !ok {
			return "", "", a.errResource(resource, false)
		}
		return audience, scope, nil
	}
	if scope == "" {
		if q.v2 {
			return "", "", errMissing("scope")
		}
		return "", "", errNoResource()
	}
	found := ""
	for s := range strings.FieldsSeq(scope) {
		if openID(s) {
			continue
		}
		i := strings.LastIndexByte(s, '/')
		if i < 0 {
			// A scope without a resource is one of Microsoft Graph's.
			s, i = "https://graph.microsoft.com/"+s, len("https://graph.microsoft.com")
		}
		audience, ok := a.audience(s[:i])
		if !ok {
			return "", "", a.errResource(s[:i], true)
		}
		if found != "" && found != audience {
			return "", "", errScope(scope)
		}
		found = audience
	}
	if found == "" {
		if !q.v2 {
			return "", "", errNoResource()
		}
		found = "https://graph.microsoft.com"
	}
	return found, scope, nil
}

// audience is the canonical spelling of a granted resource, with the trailing slash that the client gave it.
func (a *Authority) audience(resource string) (string, bool) {
	trimmed := strings.TrimRight(resource, "/")
	known, ok := a.resources[strings.ToLower(trimmed)]
	if ok && len(trimmed) < len(resource) {
		known += "/"
	}
	return known, ok
}
