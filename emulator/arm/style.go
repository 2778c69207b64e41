package arm

import "time"

// How the providers of 2018 answer long-running verbs, as recorded from the
// real services (azure-cli's recordings of 2018). A type takes one and changes what differs.

// ComputeStyle is Microsoft.Compute: 202 with both headers on one path, told
// apart by monitor=true. status is 201 for a new VM, 200 for an old one, 202 for a DELETE or an action.
func ComputeStyle(status int) LRO {
	const path = "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/operations/{operation}"
	l := LRO{Status: status, AsyncOperation: path + "?api-version={version}", Operation: computeOperation}
	if status == 202 {
		l.NoBody = true
		l.Location = path + "?monitor=true&api-version={version}"
	}
	return l
}

func computeOperation(_ Call, op *Operation, _ *Resource) any {
	doc := map[string]any{"startTime": op.Start.Format(time.RFC3339Nano), "status": op.Status, "name": op.ID}
	if !op.End.IsZero() {
		doc["endTime"] = op.End.Format(time.RFC3339Nano)
	}
	if op.Error != nil {
		doc["error"] = op.Error
	}
	return doc
}

// NetworkStyle is Microsoft.Network: a PUT answers with the resource and
// Azure-AsyncOperation, a DELETE (202) empty with Location too.
func NetworkStyle(status int) LRO {
	const path = "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/"
	l := LRO{Status: status, AsyncOperation: path + "operations/{operation}?api-version={version}", Operation: bareOperation}
	if status == 202 {
		l.NoBody = true
		l.Final = 204
		l.Location = path + "operationResults/{operation}?api-version={version}"
	}
	return l
}

// bareOperation is {"status"} and, when it failed, {"error"}: Network, HDInsight, deployments.
func bareOperation(_ Call, op *Operation, _ *Resource) any {
	doc := map[string]any{"status": op.Status}
	if op.Error != nil {
		doc["error"] = op.Error
	}
	return doc
}

// StorageStyle is Microsoft.Storage: 202, no body, Location alone.
func StorageStyle() LRO {
	return LRO{Status: 202, NoBody: true,
		Location: "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/asyncoperations/{operation}?monitor=true&api-version={version}"}
}

// BatchAIStyle is Microsoft.BatchAI 2018-05-01: 202, no body, and the two paths named the other way round from what one expects.
func BatchAIStyle() LRO {
	const path = "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/"
	return LRO{Status: 202, NoBody: true,
		AsyncOperation: path + "operationresults/{operation}?api-version={version}",
		Location:       path + "operationstatuses/{operation}?api-version={version}"}
}

// ContainerInstanceStyle is Microsoft.ContainerInstance: 201 with the body, and a status path that stays at api-version 2018-06-01.
func ContainerInstanceStyle() LRO {
	return LRO{Status: 201, AsyncOperation: "{base}/subscriptions/{subscription}/providers/{provider}/locations/{location}/operations/{operation}?api-version=2018-06-01"}
}

// HDInsightStyle is Microsoft.HDInsight: 200 with the body, and a status path below the cluster that ends in the verb's own word.
func HDInsightStyle(word string) LRO {
	return LRO{Status: 200, AsyncOperation: "{base}{id}/azureasyncoperations/" + word + "?api-version={version}", Operation: bareOperation}
}
