package hdinsight

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// queries are the provider's reads that are no resource.
func (f *Fake) queries() []arm.Query {
	all := versions()
	recent := arm.Versions{From: "2018-06-01-preview", Known: all.Known}
	return []arm.Query{
		{Method: "GET", Pattern: "locations/{location}/usages", Versions: all, Do: f.listUsages},
		{Method: "GET", Pattern: "locations/{location}/capabilities", Versions: all, Do: f.capabilities},
		{Method: "GET", Pattern: "locations/{location}/billingSpecs", Versions: recent, Do: f.billingSpecs},
		{Method: "POST", Pattern: "locations/{location}/checkNameAvailability", Versions: recent, Do: f.checkNameAvailability},
		{Method: "POST", Pattern: "locations/{location}/validateCreateRequest", Versions: recent, Do: f.validateCreate},
		{Method: "GET", Pattern: "operations", Versions: all, Do: f.operations},
	}
}

func (f *Fake) location(c arm.Call) (string, error) {
	asked := c.Vars["location"]
	location := hardware.Location(asked)
	if !slices.Contains(hardware.Locations(), location) {
		return "", arm.Errorf(404, "NoRegisteredProviderFound", "No registered resource provider found for location '%s' and API version '%s' for type 'locations'.", asked, c.Version)
	}
	return location, nil
}

// listUsages is Locations_ListUsages.
func (f *Fake) listUsages(ctx context.Context, c arm.Call) (any, error) {
	location, err := f.location(c)
	if err != nil {
		return nil, err
	}
	used, err := f.coresUsed(ctx, c.View, c.Vars["subscription"], location)
	if err != nil {
		return nil, err
	}
	return map[string]any{"value": []any{map[string]any{"unit": "Count", "currentValue": used, "limit": f.cfg.Cores,
		"name": map[string]string{"value": "cores", "localizedValue": "Cores"}}}}, nil
}

// capabilities is Locations_GetCapabilities.
func (f *Fake) capabilities(ctx context.Context, c arm.Call) (any, error) {
	location, err := f.location(c)
	if err != nil {
		return nil, err
	}
	type spec struct {
		FriendlyName      string            `json:"friendlyName"`
		DisplayName       string            `json:"displayName"`
		IsDefault         any               `json:"isDefault"`
		ComponentVersions map[string]string `json:"componentVersions"`
	}
	old := arm.CompareVersions(c.Version, "2018-06-01-preview") < 0
	var available []spec
	for _, v := range f.catalogue.Versions {
		s := spec{FriendlyName: v.Name, DisplayName: "Version " + v.Full, IsDefault: v.Name == f.catalogue.Default, ComponentVersions: map[string]string{v.Display: v.Components}}
		if old {
			s.IsDefault = map[bool]string{true: "true", false: "false"}[v.Name == f.catalogue.Default]
		}
		for kind, versions := range v.Kinds {
			s.ComponentVersions[kind] = strings.Join(versions, ",")
		}
		available = append(available, s)
	}
	var regions, sizes []string
	for _, l := range hardware.Locations() {
		regions = append(regions, strings.ToUpper(arm.DisplayName(l)))
	}
	for _, s := range hardware.Sizes(location) {
		sizes = append(sizes, s.Name)
	}
	used, err := f.coresUsed(ctx, c.View, c.Vars["subscription"], location)
	if err != nil {
		return nil, err
	}
	total, err := f.coresUsed(ctx, c.View, c.Vars["subscription"], "")
	if err != nil {
		return nil, err
	}
	linux := func(v any) map[string]any { return map[string]any{"iaas": map[string]any{"available": v}} }
	out := map[string]any{"versions": linux(available), "regions": linux(regions), "features": []string{}}
	region := arm.DisplayName(location)
	if old {
		out["vmSizes"] = linux(sizes)
		out["vmSize_filters"] = []any{}
		out["quota"] = map[string]any{"regionalQuotas": []any{map[string]any{"region_name": region, "cores_used": used, "cores_available": f.cfg.Cores - used}}}
	} else {
		out["quota"] = map[string]any{"coresUsed": total, "maxCoresAllowed": f.cfg.Cores,
			"regionalQuotas": []any{map[string]any{"regionName": region, "coresUsed": used, "coresAvailable": f.cfg.Cores - used}}}
	}
	return out, nil
}

// billingSpecs is Locations_ListBillingSpecs. Nothing is billed: there are no meters.
func (f *Fake) billingSpecs(_ context.Context, c arm.Call) (any, error) {
	location, err := f.location(c)
	if err != nil {
		return nil, err
	}
	sizes, properties := []string{}, []any{}
	for _, s := range hardware.Sizes(location) {
		sizes = append(sizes, s.Name)
		properties = append(properties, map[string]any{"name": s.Name, "cores": s.Cores, "memoryInMb": s.MemoryMB, "maxDataDiskCount": s.MaxDataDisks, "label": s.Name,
			"supportedByVirtualMachines": true, "supportedByWebWorkerRoles": false, "virtualMachineResourceDiskSizeInMb": s.ResourceDiskMB, "webWorkerResourceDiskSizeInMb": 0})
	}
	return map[string]any{"vmSizes": sizes, "vmSizesWithEncryptionAtHost": []string{}, "vmSizeFilters": []any{}, "vmSizeProperties": properties,
		"billingResources": []any{map[string]any{"region": arm.DisplayName(location), "billingMeters": []any{}, "diskBillingMeters": []any{}}}}, nil
}

// checkNameAvailability is Locations_CheckNameAvailability.
func (f *Fake) checkNameAvailability(ctx context.Context, c arm.Call) (any, error) {
	if _, err := f.location(c); err != nil {
		return nil, err
	}
	var body struct{ Name, Type string }
	if err := json.Unmarshal(c.Body, &body); err != nil || body.Name == "" {
		return nil, badRequest("The name to check is missing.")
	}
	if err := ruleName(body.Name); err != nil {
		return map[string]any{"nameAvailable": false, "reason": "Invalid", "message": err.(*arm.Error).Message}, nil
	}
	taken, err := f.nameTaken(ctx, c.View, body.Name)
	if err != nil {
		return nil, err
	}
	if taken {
		return map[string]any{"nameAvailable": false, "reason": "AlreadyExists", "message": nameTaken(body.Name).Message}, nil
	}
	return map[string]any{"nameAvailable": true, "reason": nil, "message": nil}, nil
}

// validateCreate is Locations_ValidateClusterCreateRequest: what a PUT would say.
func (f *Fake) validateCreate(ctx context.Context, c arm.Call) (any, error) {
	location, err := f.location(c)
	if err != nil {
		return nil, err
	}
	var body struct {
		Name       string          `json:"name"`
		Properties json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return nil, badRequest("The request body is missing or of a wrong type.")
	}
	id, err := arm.ParseID("/subscriptions/" + c.Vars["subscription"] + "/resourceGroups/validation/providers/Microsoft.HDInsight/clusters/" + body.Name)
	if err != nil {
		return nil, badRequest("Cluster name '%s' is invalid.", body.Name)
	}
	next := &arm.Resource{ID: id, Location: location, Properties: body.Properties}
	s, _, err := f.describe(ctx, c.View, next)
	if err == nil {
		err = f.checkName(ctx, c.View, id)
	}
	if err == nil {
		err = f.checkQuota(ctx, c.View, next, s.QuotaInfo.CoresUsed, 0)
	}
	found := []any{}
	var wrong *arm.Error
	if errors.As(err, &wrong) {
		found = append(found, map[string]any{"code": wrong.Code, "message": wrong.Message, "errorResource": wrong.Target, "messageArguments": []string{}})
	} else if err != nil {
		return nil, err
	}
	return map[string]any{"validationErrors": found, "validationWarnings": []any{}, "estimatedCreationDuration": "00:20:00", "aaddsResourcesDetails": []any{}}, nil
}

// operations is Operations_List.
func (f *Fake) operations(context.Context, arm.Call) (any, error) {
	var out []any
	for _, o := range [][3]string{
		{"clusters/read", "Cluster", "Get details about HDInsight cluster"}, {"clusters/write", "Cluster", "Create or update HDInsight cluster"},
		{"clusters/delete", "Cluster", "Delete a HDInsight cluster"}, {"clusters/changerdpsetting/action", "Cluster", "Change RDP setting for HDInsight cluster"},
		{"clusters/configurations/action", "Cluster", "Update HDInsight cluster configuration"}, {"clusters/roles/resize/action", "Cluster", "Resize a HDInsight cluster"},
		{"clusters/getGatewaySettings/action", "Cluster", "Get gateway settings for HDInsight cluster"}, {"clusters/updateGatewaySettings/action", "Cluster", "Update gateway settings for HDInsight cluster"},
		{"clusters/applications/read", "Application", "Get application for HDInsight cluster"}, {"clusters/applications/write", "Application", "Create or update application for HDInsight cluster"},
		{"clusters/applications/delete", "Application", "Delete application for HDInsight cluster"}, {"locations/capabilities/read", "Location Capability", "Get subscription capabilities"},
	} {
		out = append(out, map[string]any{"name": "Microsoft.HDInsight/" + o[0], "display": map[string]string{"provider": "Microsoft.HDInsight", "resource": o[1], "operation": o[2]}})
	}
	return map[string]any{"value": out}, nil
}
