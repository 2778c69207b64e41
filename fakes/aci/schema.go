package aci

import (
	"encoding/json"

	"lazulite.dev/emulator/arm"
)

// schema is that of ContainerGroup.properties. It is made anew for each engine, which completes it.
func schema() *arm.Schema {
	least := func(f float64) *float64 { return &f }
	text := func() *arm.Schema { return &arm.Schema{Type: "string"} }
	flag := func() *arm.Schema { return &arm.Schema{Type: "boolean"} }
	count := func() *arm.Schema { return &arm.Schema{Type: "integer", Minimum: least(0)} }
	list := func(items *arm.Schema) *arm.Schema { return &arm.Schema{Type: "array", Items: items} }
	object := func(required []string, properties map[string]*arm.Schema) *arm.Schema {
		return &arm.Schema{Type: "object", Required: required, Properties: properties}
	}
	port := func() *arm.Schema {
		return object([]string{"port"}, map[string]*arm.Schema{
			"protocol": {Type: "string", Enum: []string{"TCP", "UDP"}, Default: json.RawMessage(`"TCP"`)},
			"port":     {Type: "integer", Minimum: least(1), Maximum: least(65535)},
		})
	}
	amounts := func() *arm.Schema {
		return object(nil, map[string]*arm.Schema{"memoryInGB": {Type: "number"}, "cpu": {Type: "number"}})
	}
	probe := func() *arm.Schema {
		return object(nil, map[string]*arm.Schema{
			"exec": object([]string{"command"}, map[string]*arm.Schema{"command": list(text())}),
			"httpGet": object([]string{"port"}, map[string]*arm.Schema{"path": text(), "port": {Type: "integer", Minimum: least(1), Maximum: least(65535)},
				"scheme": {Type: "string", Enum: []string{"http", "https"}}}),
			"initialDelaySeconds": count(), "periodSeconds": count(), "failureThreshold": count(), "successThreshold": count(), "timeoutSeconds": count(),
		})
	}
	container := func(required ...string) *arm.Schema {
		return object([]string{"name", "properties"}, map[string]*arm.Schema{
			"name": text(),
			"properties": object(required, map[string]*arm.Schema{
				"image": text(), "command": list(text()), "ports": list(port()),
				"environmentVariables": list(object([]string{"name"}, map[string]*arm.Schema{"name": text(), "value": text(), "secureValue": text()})),
				"instanceView":         {ReadOnly: true},
				"resources":            object([]string{"requests"}, map[string]*arm.Schema{"requests": amounts(), "limits": amounts()}),
				"volumeMounts":         list(object([]string{"name", "mountPath"}, map[string]*arm.Schema{"name": text(), "mountPath": text(), "readOnly": flag()})),
				"livenessProbe":        probe(), "readinessProbe": probe(),
			}),
		})
	}
	return object([]string{"containers", "osType"}, map[string]*arm.Schema{
		"containers": list(container("image", "resources")), "initContainers": list(container("image")),
		"instanceView":             {ReadOnly: true},
		"imageRegistryCredentials": list(object([]string{"server"}, map[string]*arm.Schema{"server": text(), "username": text(), "password": text(), "identity": text()})),
		"restartPolicy":            {Type: "string", Enum: []string{always, onFailure, never}, Default: json.RawMessage(`"Always"`)},
		"osType":                   {Type: "string", Enum: []string{"Linux", "Windows"}},
		"sku":                      {Type: "string", Enum: []string{"NotSpecified", "Standard", "Dedicated", "Confidential"}},
		"ipAddress": object([]string{"ports", "type"}, map[string]*arm.Schema{"ports": list(port()), "ip": {ReadOnly: true}, "fqdn": {ReadOnly: true}, "dnsNameLabel": text(),
			"type": {Type: "string", Enum: []string{"Public", "Private"}}}),
		"volumes": list(object([]string{"name"}, map[string]*arm.Schema{
			"name": text(), "emptyDir": {Type: "object"}, "secret": {Type: "object", Values: text()},
			"azureFile": object([]string{"shareName", "storageAccountName"}, map[string]*arm.Schema{"shareName": text(), "readOnly": flag(), "storageAccountName": text(), "storageAccountKey": text()}),
			"gitRepo":   object([]string{"repository"}, map[string]*arm.Schema{"repository": text(), "directory": text(), "revision": text()}),
		})),
		"diagnostics": object(nil, map[string]*arm.Schema{"logAnalytics": object([]string{"workspaceId", "workspaceKey"}, map[string]*arm.Schema{
			"workspaceId": text(), "workspaceKey": text(), "logType": text()})}),
		"networkProfile": object([]string{"id"}, map[string]*arm.Schema{"id": text()}),
		"subnetIds":      list(object([]string{"id"}, map[string]*arm.Schema{"id": text(), "name": text()})),
	})
}
