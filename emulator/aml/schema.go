package aml

import "lazulite.dev/emulator/arm"

func text() *arm.Schema     { return &arm.Schema{Type: "string"} }
func readOnly() *arm.Schema { return &arm.Schema{ReadOnly: true} }

func truth() *arm.Schema { return &arm.Schema{Type: "boolean"} }

// workspaceSchema is WorkspaceProperties of machineLearningServices.json 2018-03-01-preview,
// and what later versions of it let a client set.
func workspaceSchema() *arm.Schema {
	return &arm.Schema{Type: "object", Properties: map[string]*arm.Schema{
		"workspaceid": readOnly(), "creationDate": readOnly(), "creationTime": readOnly(), "provisioningState": readOnly(), "discoveryUrl": readOnly(),
		"description": {Type: "string", MaxLength: 1024}, "friendlyName": {Type: "string", MaxLength: 255},
		"containerRegistry": text(), "keyVault": text(), "applicationInsights": text(), "batchaiWorkspace": text(), "storageAccount": text(),
		"hbiWorkspace": truth(), "allowPublicAccessWhenBehindVnet": truth(), "v1LegacyMode": truth(), "imageBuildCompute": text(),
		"systemDatastoresAuthMode": text(), "publicNetworkAccess": text(),
	}}
}

// computeSchema is Compute of the same document, with the properties of VirtualMachine, BatchAI and AmlCompute.
func computeSchema() *arm.Schema {
	return &arm.Schema{Type: "object", Required: []string{"computeType"}, Properties: map[string]*arm.Schema{
		"computeType": text(), "computeLocation": text(), "description": text(), "resourceId": text(),
		"provisioningState": readOnly(), "provisioningErrors": readOnly(), "createdOn": readOnly(), "modifiedOn": readOnly(), "isAttachedCompute": readOnly(),
		"properties": {Type: "object", Properties: map[string]*arm.Schema{
			"virtualMachineSize": text(), "address": text(),
			// Of clusters.
			"vmSize": text(), "vmPriority": text(), "remoteLoginPortPublicAccess": text(), "subnet": {}, "enableNodePublicIp": {},
			"scaleSettings": {Type: "object", Properties: map[string]*arm.Schema{
				"minNodeCount": {Type: "integer"}, "maxNodeCount": {Type: "integer"}, "autoScaleEnabled": truth(), "nodeIdleTimeBeforeScaleDown": text()}},
			"userAccountCredentials": {Type: "object", Properties: map[string]*arm.Schema{
				"adminUserName": text(), "adminUserPassword": text(), "adminUserSshPublicKey": text()}},
			// A number, a string of one, or the empty string: sshPort.UnmarshalJSON takes it apart.
			"sshPort": {},
			"administratorAccount": {Type: "object", Properties: map[string]*arm.Schema{
				"username": text(), "password": text(), "publicKeyData": text(), "privateKeyData": text(), "passphrase": text()}},
		}},
	}}
}
