package batchai

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"lazulite.dev/emulator/arm"
)

// operationsJSON has a row for each: name, description, operation and resource,
// as the service spelled them (ListOperation of 2018-05-01), mistakes included, and
// its name in the api-versions before, if it was there.
//
//go:embed operations.json
var operationsJSON []byte

// operations answers GET /providers/Microsoft.BatchAI/operations.
func operations(_ context.Context, c arm.Call) (any, error) {
	var rows [][5]string
	if err := json.Unmarshal(operationsJSON, &rows); err != nil {
		return nil, fmt.Errorf("batchai: operations.json: %w", err)
	}
	value := []any{}
	for _, row := range rows {
		name := row[0]
		if arm.CompareVersions(c.Version, latestVersion) < 0 {
			name = row[4]
		}
		if name != "" {
			value = append(value, map[string]any{"name": namespace + "/" + name, "origin": "user,system", "properties": nil,
				"display": map[string]string{"provider": "Microsoft Batch AI", "resource": row[3], "operation": row[2], "description": row[1]}})
		}
	}
	return map[string]any{"value": value}, nil
}
