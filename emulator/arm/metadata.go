package arm

import (
	"net"
	"net/http"
	"strings"
)

// Audiences that the metadata names.
var audiences = []string{"https://management.core.windows.net/", "https://management.azure.com/"}

// metadata answers /metadata/endpoints, which az cloud register asks without
// a token: the old form, a list of clouds from 2019-05-01, one cloud from
// 2022-09-01. Asked at Azure's own name it names Azure's own hosts; asked at
// any other address, all is there.
func (x *exchange) metadata() error {
	if x.r.Method != http.MethodGet {
		return errMethod(x.r.Method, []string{http.MethodGet})
	}
	if err := x.versionFormat([]string{"2022-09-01", "2020-06-01", "2019-05-01", "2018-01-01", "2015-01-01"}); err != nil {
		return err
	}
	base := x.host()
	name, _, err := net.SplitHostPort(x.r.Host)
	if err != nil {
		name = x.r.Host
	}
	login, graph, portal, identity, tenant := base+"/adfs", base+"/graph", base, "ADFS", "adfs"
	if strings.EqualFold(name, "management.azure.com") {
		login, graph, portal, identity, tenant = "https://login.microsoftonline.com", "https://graph.windows.net/", "https://portal.azure.com", "AAD", "common"
	}
	if CompareVersions(x.version, "2019-05-01") < 0 {
		x.send(http.StatusOK, map[string]any{"galleryEndpoint": base + "/", "graphEndpoint": graph, "portalEndpoint": portal,
			"authentication": map[string]any{"loginEndpoint": login, "audiences": audiences}})
		return nil
	}
	cloud := map[string]any{
		"name": "AzureCloud", "portal": portal, "resourceManager": base, "gallery": base + "/", "media": base,
		"graph": graph, "graphAudience": graph, "batch": "https://batch.core.windows.net/",
		"authentication": map[string]any{"loginEndpoint": login, "audiences": audiences, "tenant": tenant, "identityProvider": identity},
		"suffixes": map[string]string{"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "acrLoginServer": "azurecr.io",
			"sqlServerHostname": "database.windows.net", "azureDataLakeStoreFileSystem": "azuredatalakestore.net", "azureDataLakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net"},
		"microsoftGraphResourceId": base + "/msgraph", "activeDirectoryDataLake": base, "sqlManagement": base,
		"vmImageAliasDoc": base + "/aliases.json", "logAnalyticsResourceId": base, "synapseAnalyticsResourceId": base, "ossrdbmsResourceId": base,
		"appInsightsResourceId": base, "appInsightsTelemetryChannelResourceId": base, "attestationResourceId": base,
	}
	if !strings.EqualFold(name, "management.azure.com") {
		cloud["name"] = "lazulite"
	}
	if CompareVersions(x.version, "2022-09-01") < 0 {
		x.send(http.StatusOK, []any{cloud})
		return nil
	}
	x.send(http.StatusOK, cloud)
	return nil
}
