package emulator

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strconv"
)

// Where az gets the short names of images from: until 2022, and since.
const (
	aliases2018Path = "/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json"
	aliasesPath     = "/Azure/azure-rest-api-specs/main/arm-compute/quickstart-templates/aliases.json"
	// aliasesBlobPath is in az's own storage account, where it looks today.
	aliasesBlobPath = "/cli/vm/aliases.json"
)

// serveAzBlobs answers for az's own storage account: of it there is the one document.
func (e *Emulator) serveAzBlobs(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == aliasesBlobPath {
		serveAliases(w, r)
		return
	}
	e.blob.ServeHTTP(w, r)
}

// aliasesJSON has, by the system, each alias with what it stands for; a row with
// a year is not in the documents of before.
//
//go:embed aliases.json
var aliasesJSON []byte

type imageAlias struct {
	Publisher    string `json:"publisher"`
	Offer        string `json:"offer"`
	SKU          string `json:"sku"`
	Version      string `json:"version"`
	Architecture string `json:"architecture,omitempty"`
	Since        int    `json:"since,omitempty"`
}

// serveAliases answers the paths of az's alias document.
func serveAliases(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "405: Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	var all map[string]map[string]imageAlias
	if err := json.Unmarshal(aliasesJSON, &all); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, system := range all {
		for name, a := range system {
			switch {
			case r.URL.Path == aliases2018Path && a.Since > 2018:
				delete(system, name)
				continue
			case r.URL.Path != aliases2018Path:
				a.Architecture = "x64"
			}
			a.Since = 0
			system[name] = a
		}
	}
	body, err := json.Marshal(map[string]any{"$schema": "http://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json", "contentVersion": "1.0.0.0",
		"parameters": map[string]any{}, "variables": map[string]any{}, "resources": []any{},
		"outputs": map[string]any{"aliases": map[string]any{"type": "object", "value": all}}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// As that host serves every JSON.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
