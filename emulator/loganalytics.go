package emulator

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/google/uuid"

	"lazulite.dev/emulator/arm"
)

// fillLogs completes a Log Analytics workspace, which collects nothing here.
func fillLogs(r *arm.Resource, old, p map[string]any) {
	keep(old, p, "customerId", uuid.NewString())
	keep(old, p, "createdDate", r.Created.UTC().Format("2006-01-02T15:04:05.0000000Z"))
	for field, usual := range map[string]any{"source": "Azure", "retentionInDays": 30, "sku": map[string]any{"name": "pergb2018"}, "softDelete": false} {
		if _, ok := p[field]; !ok {
			p[field] = usual
		}
	}
	number(p, "retentionInDays")
	features, ok := p["features"].(map[string]any)
	if !ok {
		features = map[string]any{"legacy": 0, "searchVersion": 1}
	}
	number(features, "legacy")
	number(features, "searchVersion")
	features["enableLogAccessUsingOnlyResourcePermissions"] = true
	p["features"] = features
	reset := r.Created.UTC().Truncate(24 * time.Hour).Add(30 * time.Hour)
	p["workspaceCapping"] = map[string]any{"dailyQuotaGb": -1.0, "quotaNextResetTime": reset.Format("Mon, 02 Jan 2006 15:04:05 GMT"), "dataIngestionStatus": "RespectQuota"}
}

// number makes a number of a member that spells one, as the service's parser does.
func number(p map[string]any, field string) {
	if text, ok := p[field].(string); ok {
		if n, err := strconv.Atoi(text); err == nil {
			p[field] = n
		}
	}
}

// sharedKeys are two that a workspace's id and age decide: nothing is ever signed by them.
func sharedKeys(r *arm.Resource) any {
	key := func(which string) string {
		sum := sha512.Sum512([]byte(which + "\x00" + r.ID.Key() + r.Created.String()))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	return map[string]string{"primarySharedKey": key("primary"), "secondarySharedKey": key("secondary")}
}

// atOnce is done when it is first looked at.
type atOnce struct{}

// Reconcile implements arm.Reconciler.
func (atOnce) Reconcile(context.Context, arm.View, *arm.Resource) (arm.Result, error) {
	return arm.Result{Done: true}, nil
}
