package hdinsight

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/arm"
)

// extension is what a monitoring extension was given. Nothing collects anything.
type extension struct {
	WorkspaceID string          `json:"workspaceId"`
	Selected    json.RawMessage `json:"selectedConfigurations,omitempty"`
}

// extensionName is one of those that there are, as it is written.
func extensionName(name string) (string, error) {
	for _, known := range []string{"clustermonitoring", "azureMonitor", "azureMonitorAgent"} {
		if strings.EqualFold(name, known) {
			return known, nil
		}
	}
	return "", notFound("The extension '%s' was not found.", name)
}

// beginExtension is PUT extensions/{extension}: monitoring is enabled.
func (f *Fake) beginExtension(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	_, n, err := ready(r)
	if err != nil {
		return err
	}
	name, err := extensionName(c.Vars["extension"])
	if err != nil {
		return err
	}
	var body struct {
		WorkspaceID string          `json:"workspaceId"`
		PrimaryKey  string          `json:"primaryKey"`
		Selected    json.RawMessage `json:"selectedConfigurations"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return badRequest("The request body is missing or of a wrong type.")
	}
	if _, err := uuid.Parse(body.WorkspaceID); err != nil {
		e := badRequest("The workspaceId '%s' is invalid: it must be the workspace's customer id.", body.WorkspaceID)
		e.Target = "workspaceId"
		return e
	}
	if body.PrimaryKey == "" {
		e := badRequest("The primaryKey of the workspace '%s' is missing.", body.WorkspaceID)
		e.Target = "primaryKey"
		return e
	}
	if n.Extensions == nil {
		n.Extensions = map[string]extension{}
	}
	n.Extensions[name] = extension{WorkspaceID: body.WorkspaceID, Selected: body.Selected}
	n.Work = &work{Kind: "extension"}
	return n.store(r)
}

// endExtension is DELETE extensions/{extension}.
func (f *Fake) endExtension(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	_, n, err := ready(r)
	if err != nil {
		return err
	}
	name, err := extensionName(c.Vars["extension"])
	if err != nil {
		return err
	}
	delete(n.Extensions, name)
	n.Work = &work{Kind: "extension"}
	return n.store(r)
}

// getExtension is GET extensions/{extension}.
func (f *Fake) getExtension(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	if err != nil {
		return 0, nil, err
	}
	name, err := extensionName(c.Vars["extension"])
	if err != nil {
		return 0, nil, err
	}
	e, enabled := n.Extensions[name]
	if !enabled {
		return 0, map[string]any{"clusterMonitoringEnabled": false, "workspaceId": nil}, nil
	}
	answer := map[string]any{"clusterMonitoringEnabled": true, "workspaceId": e.WorkspaceID}
	if len(e.Selected) > 0 {
		answer["selectedConfigurations"] = e.Selected
	}
	return 0, answer, nil
}
