package hdinsight

import (
	"fmt"
	"net/http"

	"lazulite.dev/emulator/arm"
)

// badRequest is how the service refuses what it has looked at itself.
func badRequest(format string, args ...any) *arm.Error {
	return arm.Errorf(http.StatusBadRequest, "BadRequest", format, args...)
}

// invalidDocument is how it refuses a cluster's description; target is the field.
func invalidDocument(target, format string, args ...any) *arm.Error {
	e := badRequest("DeploymentDocument 'CsmDocument_2_0' failed the validation. Error: '%s'", fmt.Sprintf(format, args...))
	e.Target = target
	return e
}

func noVersion(version, subscription string) *arm.Error {
	return badRequest("Version capability not available for version '%s' and Subscription ID '%s'.", version, subscription)
}

func overQuota(subscription, name string, required, available int) *arm.Error {
	return badRequest("User SubscriptionId '%s' does not have cores left to create resource '%s'. Required: %d, Available: %d.", subscription, name, required, available)
}

func nameTaken(name string) *arm.Error {
	return arm.Errorf(http.StatusConflict, "Conflict", "Cluster name '%s' is unavailable", name)
}

// notRunning refuses an operation on a cluster that is not up.
func notRunning(name, state string) *arm.Error {
	return arm.Errorf(http.StatusConflict, "Conflict", "The operation is not allowed on the cluster '%s' in the state '%s'.", name, state)
}

func notFound(format string, args ...any) *arm.Error {
	return arm.Errorf(http.StatusNotFound, "ResourceNotFound", format, args...)
}
