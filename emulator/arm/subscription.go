package arm

import (
	"net/http"
	"sort"
)

type subscriptionDocument struct {
	ID             string `json:"id"`
	SubscriptionID string `json:"subscriptionId"`
	TenantID       string `json:"tenantId,omitempty"`
	DisplayName    string `json:"displayName"`
	State          string `json:"state"`
	Policies       any    `json:"subscriptionPolicies"`
	Source         string `json:"authorizationSource"`
}

// subscriptionOf mirrors Subscription of subscriptions.json; tenantId came after 2016-06-01.
func (x *exchange) subscriptionOf(s Subscription) subscriptionDocument {
	d := subscriptionDocument{ID: "/subscriptions/" + s.ID, SubscriptionID: s.ID, DisplayName: s.DisplayName, State: "Enabled", Source: "RoleBased",
		Policies: map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"}}
	if CompareVersions(x.version, "2016-06-01") > 0 {
		d.TenantID = x.e.cfg.Tenant
	}
	return d
}

func (x *exchange) listSubscriptions() error {
	all := make([]subscriptionDocument, 0, len(x.e.subscriptions))
	for _, s := range x.e.subscriptions {
		all = append(all, x.subscriptionOf(s))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	x.send(http.StatusOK, map[string]any{"value": all})
	return nil
}

func (x *exchange) getSubscription() error {
	x.send(http.StatusOK, x.subscriptionOf(x.e.subscriptions[fold(x.path[1])]))
	return nil
}

func (x *exchange) listLocations() error {
	sub := x.e.subscriptions[fold(x.path[1])]
	all := make([]map[string]any, 0, len(regions))
	for _, r := range regions {
		d := map[string]any{"id": "/subscriptions/" + sub.ID + "/locations/" + r.name, "name": r.name, "displayName": r.display}
		if CompareVersions(x.version, "2019-11-01") < 0 {
			d["longitude"], d["latitude"] = r.longitude, r.latitude
		} else {
			d["type"], d["regionalDisplayName"] = "Region", r.display
			d["metadata"] = map[string]any{"regionType": "Physical", "regionCategory": "Recommended", "longitude": r.longitude, "latitude": r.latitude, "physicalLocation": r.display}
		}
		all = append(all, d)
	}
	x.send(http.StatusOK, map[string]any{"value": all})
	return nil
}

func (x *exchange) tenants() error {
	d := map[string]any{"id": "/tenants/" + x.e.cfg.Tenant, "tenantId": x.e.cfg.Tenant}
	if CompareVersions(x.version, "2019-06-01") >= 0 {
		d["displayName"], d["tenantCategory"], d["domains"] = "lazulite", "Home", []string{}
	}
	x.send(http.StatusOK, map[string]any{"value": []any{d}})
	return nil
}
