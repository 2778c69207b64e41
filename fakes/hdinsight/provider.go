package hdinsight

import (
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
)

// versions of the provider; later ones are taken too.
func versions() arm.Versions {
	return arm.Versions{From: "2015-03-01-preview", Known: []string{"2021-06-01", "2018-06-01-preview", "2015-03-01-preview"}}
}

// accepted is 202 with both headers, as recorded of resize and monitoring.
func accepted(suffix string) arm.LRO {
	l := arm.HDInsightStyle("{operation}" + suffix)
	l.Status, l.NoBody = http.StatusAccepted, true
	l.Location = "{base}{id}/operationresults/{operation}" + suffix + "?api-version={version}"
	return l
}

// Provider declares Microsoft.HDInsight.
func (f *Fake) Provider() arm.Provider {
	// The operation of an application is one of its cluster.
	createApplication := arm.HDInsightStyle("create")
	createApplication.AsyncOperation = strings.Replace(createApplication.AsyncOperation, "{id}", "{parent}", 1)
	deleteApplication := accepted("-0")
	states := &arm.States{Creating: "InProgress", Updating: "InProgress", Deleting: "Deleting", Succeeded: "Succeeded", Failed: "Failed", Canceled: "Canceled"}
	return arm.Provider{
		Namespace: "Microsoft.HDInsight", Registered: true,
		Authorizations: []arm.Authorization{{ApplicationID: "9191c4da-09fe-49d9-a5f1-d41cbe92ad95", RoleDefinitionID: "d102a6f3-d9cb-4633-8950-1243b975886c"}},
		Types: []arm.Type{{
			Name: typeCluster, Versions: versions(), Tracked: true, States: states,
			PutNew: arm.HDInsightStyle("create"), PutOld: arm.HDInsightStyle("create"), Delete: accepted("-0"),
			Admit: f.admitCluster, Reconciler: clusterReconciler{f}, Render: f.renderCluster,
			Actions: map[string]arm.Action{
				"roles/{role}/resize":                 {LRO: accepted("-0-r"), Begin: f.beginResize},
				"getGatewaySettings":                  {Sync: f.getGatewaySettings, ReadOnly: true},
				"updateGatewaySettings":               {LRO: accepted("-0"), Begin: f.beginGateway},
				"configurations":                      {Sync: f.listConfigurations, ReadOnly: true},
				"configurations/{configuration}":      {LRO: accepted("-0"), Begin: f.beginConfiguration},
				"executeScriptActions":                {LRO: accepted("-0"), Begin: f.beginScripts},
				"scriptExecutionHistory/{id}/promote": {Sync: f.promoteScript},
				"DELETE scriptActions/{script}":       {Sync: f.deleteScript},
				"PUT extensions/{extension}":          {LRO: accepted("-0"), Begin: f.beginExtension},
				"DELETE extensions/{extension}":       {LRO: accepted("-0"), Begin: f.endExtension},
				"listHosts":                           {Sync: f.listHosts, ReadOnly: true},
				"roles/{role}/autoscale":              {LRO: accepted("-0"), Begin: f.refuseAutoscale},
				"rotatediskencryptionkey":             {LRO: accepted("-0"), Begin: f.refuseRotation},
				"restartHosts":                        {LRO: accepted("-0"), Begin: f.beginRestart, List: true},
			},
			Reads: map[string]arm.Read{
				"configurations/{configuration}": f.getConfiguration,
				"scriptActions":                  f.listScripts,
				"scriptExecutionHistory":         f.listHistory,
				"scriptExecutionHistory/{id}":    f.getHistory,
				"extensions/{extension}":         f.getExtension,
			},
		}, {
			Name: typeApplication, Versions: versions(), Without: []string{"PATCH"}, States: states,
			PutNew: createApplication, PutOld: createApplication, Delete: deleteApplication,
			Admit: f.admitApplication, Reconciler: applicationReconciler{f}, Render: renderApplication,
		}},
		Queries: f.queries(),
	}
}
