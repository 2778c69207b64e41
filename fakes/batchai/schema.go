package batchai

import (
	"encoding/json"

	"lazulite.dev/emulator/arm"
)

// The schemas are of all api-versions together (BatchAI.json of
// 2017-09-01-preview, 2018-03-01 and 2018-05-01); members.json says which version has what.

type fields map[string]*arm.Schema

func object(required []string, properties fields) *arm.Schema {
	return &arm.Schema{Type: "object", Properties: properties, Required: required}
}

func list(of *arm.Schema) *arm.Schema { return &arm.Schema{Type: "array", Items: of} }
func text() *arm.Schema               { return &arm.Schema{Type: "string"} }
func some() *arm.Schema               { return &arm.Schema{Type: "string", MinLength: 1} }
func flag() *arm.Schema               { return &arm.Schema{Type: "boolean"} }
func shown() *arm.Schema              { return &arm.Schema{ReadOnly: true} }
func word(values ...string) *arm.Schema {
	return &arm.Schema{Type: "string", Enum: values}
}

func count(least float64) *arm.Schema {
	return &arm.Schema{Type: "integer", Minimum: &least, Maximum: pointer(float64(1<<31 - 1))}
}

func pointer[T any](v T) *T { return &v }

// usual gives a schema a default.
func usual(s *arm.Schema, value any) *arm.Schema {
	s.Default, _ = json.Marshal(value)
	return s
}

func identified() *arm.Schema { return object([]string{"id"}, fields{"id": some()}) }

func secretReference() *arm.Schema {
	return object([]string{"sourceVault", "secretUrl"}, fields{"sourceVault": identified(), "secretUrl": some()})
}

func account() *arm.Schema {
	return object([]string{"adminUserName"}, fields{"adminUserName": some(), "adminUserSshPublicKey": text(), "adminUserPassword": text()})
}

func variables() *arm.Schema {
	return list(object([]string{"name", "value"}, fields{"name": some(), "value": text()}))
}

func secrets() *arm.Schema {
	return list(object([]string{"name"}, fields{"name": some(), "value": text(), "valueSecretReference": secretReference()}))
}

func mountVolumes() *arm.Schema {
	credentials := func() *arm.Schema {
		return object(nil, fields{"accountKey": text(), "accountKeySecretReference": secretReference()})
	}
	return object(nil, fields{
		"azureFileShares": list(object([]string{"accountName", "azureFileUrl", "credentials", "relativeMountPath"}, fields{
			"accountName": some(), "azureFileUrl": some(), "credentials": credentials(), "relativeMountPath": some(),
			"fileMode": usual(text(), "0777"), "directoryMode": usual(text(), "0777")})),
		"azureBlobFileSystems": list(object([]string{"accountName", "containerName", "credentials", "relativeMountPath"}, fields{
			"accountName": some(), "containerName": some(), "credentials": credentials(), "relativeMountPath": some(), "mountOptions": text()})),
		"fileServers": list(object([]string{"fileServer", "relativeMountPath"}, fields{
			"fileServer": identified(), "sourceDirectory": text(), "relativeMountPath": some(), "mountOptions": text()})),
		"unmanagedFileSystems": list(object([]string{"mountCommand", "relativeMountPath"}, fields{"mountCommand": some(), "relativeMountPath": some()})),
	})
}

func clusterSchema() *arm.Schema {
	return object([]string{"vmSize", "userAccountSettings"}, fields{
		"vmSize":     some(),
		"vmPriority": usual(word("dedicated", "lowpriority"), "dedicated"),
		"scaleSettings": object(nil, fields{
			"manual": object([]string{"targetNodeCount"}, fields{"targetNodeCount": usual(count(0), 0),
				"nodeDeallocationOption": usual(word("requeue", "terminate", "waitforjobcompletion"), "requeue")}),
			"autoScale": object([]string{"minimumNodeCount", "maximumNodeCount"}, fields{"minimumNodeCount": count(0), "maximumNodeCount": count(0), "initialNodeCount": usual(count(0), 0)}),
		}),
		"virtualMachineConfiguration": object(nil, fields{"imageReference": object([]string{"publisher", "offer", "sku"}, fields{
			"publisher": some(), "offer": some(), "sku": some(), "version": usual(text(), "latest"), "virtualMachineImageId": text()})}),
		"nodeSetup": object(nil, fields{
			"setupTask": object([]string{"commandLine", "stdOutErrPathPrefix"}, fields{"commandLine": some(), "environmentVariables": variables(), "secrets": secrets(),
				"stdOutErrPathPrefix": some(), "stdOutErrPathSuffix": shown(), "runElevated": usual(flag(), false)}),
			"mountVolumes": mountVolumes(),
			"performanceCountersSettings": object([]string{"appInsightsReference"}, fields{"appInsightsReference": object([]string{"component"}, fields{
				"component": identified(), "instrumentationKey": text(), "instrumentationKeySecretReference": secretReference()})}),
		}),
		"userAccountSettings": account(),
		"subnet":              identified(),

		"creationTime": shown(), "provisioningStateTransitionTime": shown(), "allocationState": shown(), "allocationStateTransitionTime": shown(),
		"errors": shown(), "currentNodeCount": shown(), "nodeStateCounts": shown(),
	})
}

func fileServerSchema() *arm.Schema {
	return object([]string{"vmSize", "sshConfiguration", "dataDisks"}, fields{
		"vmSize": some(),
		"sshConfiguration": object([]string{"userAccountSettings"}, fields{
			"publicIPsToAllow": &arm.Schema{Type: "array", Items: some(), MaxLength: 400}, "userAccountSettings": account()}),
		"dataDisks": object([]string{"diskSizeInGB", "diskCount", "storageAccountType"}, fields{"diskSizeInGB": count(1), "diskCount": count(1),
			"cachingType": usual(word("none", "readonly", "readwrite"), "none"), "storageAccountType": word("Standard_LRS", "Premium_LRS")}),
		"subnet":        identified(),
		"mountSettings": shown(), "creationTime": shown(), "provisioningStateTransitionTime": shown(),
	})
}

// toolkits are the job's settings by toolType; a job has exactly one of them.
func toolkits() fields {
	python := func(required bool, more fields) *arm.Schema {
		var need []string
		if required {
			need = []string{"pythonScriptFilePath"}
		}
		for _, name := range []string{"pythonScriptFilePath", "pythonInterpreterPath", "commandLineArgs"} {
			more[name] = text()
		}
		return object(need, more)
	}
	processes := func() fields { return fields{"processCount": count(1)} }
	return fields{
		"cntkSettings":          python(false, fields{"languageType": word("BrainScript", "Python"), "configFilePath": text(), "processCount": count(1)}),
		"caffeSettings":         python(false, fields{"configFilePath": text(), "processCount": count(1)}),
		"caffe2Settings":        python(true, fields{}),
		"chainerSettings":       python(true, processes()),
		"horovodSettings":       python(true, processes()),
		"pyTorchSettings":       python(true, fields{"processCount": count(1), "communicationBackend": word("TCP", "Gloo", "MPI")}),
		"customToolkitSettings": object(nil, fields{"commandLine": text()}),
		"customMpiSettings":     object([]string{"commandLine"}, fields{"commandLine": some(), "processCount": count(1)}),
		"tensorFlowSettings": python(true, fields{"masterCommandLineArgs": text(), "workerCommandLineArgs": text(), "parameterServerCommandLineArgs": text(),
			"workerCount": count(1), "parameterServerCount": count(1)}),
	}
}

func jobSchema() *arm.Schema {
	properties := toolkits()
	for name, s := range (fields{
		"experimentName":     text(),
		"schedulingPriority": usual(word("low", "normal", "high"), "normal"),
		"priority":           usual(&arm.Schema{Type: "integer", Minimum: pointer(-1000.0), Maximum: pointer(1000.0)}, 0),
		"cluster":            identified(),
		"mountVolumes":       mountVolumes(),
		"nodeCount":          count(1),
		"containerSettings": object([]string{"imageSourceRegistry"}, fields{"shmSize": text(), "imageSourceRegistry": object([]string{"image"}, fields{
			"serverUrl": text(), "image": some(), "credentials": object([]string{"username"}, fields{"username": some(), "password": text(), "passwordSecretReference": secretReference()})})}),
		"jobPreparation":      object([]string{"commandLine"}, fields{"commandLine": some()}),
		"stdOutErrPathPrefix": some(),
		"inputDirectories":    list(object([]string{"id", "path"}, fields{"id": some(), "path": some()})),
		"outputDirectories": list(object([]string{"id", "pathPrefix"}, fields{"id": some(), "pathPrefix": some(), "pathSuffix": text(),
			"type": usual(word("model", "logs", "summary", "custom"), "custom"), "createNew": usual(flag(), true)})),
		"environmentVariables": variables(),
		"secrets":              secrets(),
		"constraints":          usual(object(nil, fields{"maxWallClockTime": text()}), map[string]any{}),

		"toolType": shown(), "jobOutputDirectoryPathSegment": shown(), "creationTime": shown(), "provisioningStateTransitionTime": shown(),
		"executionState": shown(), "executionStateTransitionTime": shown(), "executionInfo": shown(),
	}) {
		properties[name] = s
	}
	return object([]string{"cluster", "nodeCount", "stdOutErrPathPrefix"}, properties)
}
