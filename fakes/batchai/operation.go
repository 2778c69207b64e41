package batchai

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"lazulite.dev/emulator/arm"
)

// operationsJSON has a row for each: name, description, operation, resource, as
// the service spelled them (ListOperation of 2018-05-01), mistakes included.
//
//go:embed operations.json
var operationsJSON []byte

// operations answers GET /providers/Microsoft.BatchAI/operations. An older
// api-version does not have what its types do not.
func operations(_ context.Context, c arm.Call) (any, error) {
	var rows [][4]string
	if err := json.Unmarshal(operationsJSON, &rows); err != nil {
		return nil, fmt.Errorf("batchai: operations.json: %w", err)
	}
	value := []any{}
	for _, row := range rows {
		name := row[0]
		if arm.CompareVersions(c.Version, latestVersion) < 0 {
			if strings.HasPrefix(name, "workspaces/") && strings.Count(name, "/") == 1 || strings.HasPrefix(name, "workspaces/experiments/") && !strings.Contains(name, "/jobs/") {
				continue
			}
			short := strings.TrimPrefix(strings.TrimPrefix(name, "workspaces/"), "experiments/")
			if short != name && (short == "clusters/read" || short == "fileservers/read") {
				continue // they have rows of their own
			}
			name = short
		}
		value = append(value, map[string]any{"name": namespace + "/" + name, "origin": "user,system", "properties": nil,
			"display": map[string]string{"provider": "Microsoft Batch AI", "resource": row[3], "operation": row[2], "description": row[1]}})
	}
	return map[string]any{"value": value}, nil
}
