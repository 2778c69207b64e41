package arm

import (
	"net/http"
	"strings"
	"time"
)

// The refusals of the resource manager itself, in its own words. Each
// function is one row: status, code, message.

func typedName(id ID) string {
	_, segs := id.block()
	if len(segs) < 3 {
		return id.Type() + "/" + id.Name()
	}
	return strings.Join(append([]string{id.Type()}, names(segs)...), "/")
}

func names(segs []string) []string {
	var out []string
	for i := 2; i < len(segs); i += 2 {
		out = append(out, segs[i])
	}
	return out
}

func orNull(s string) string {
	if s == "" {
		return "<null>"
	}
	return s
}

func errAuthenticationMissing() *Error {
	e := Errorf(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	e.Header = http.Header{"Www-Authenticate": {"Bearer"}}
	return e
}

func errNoRoute() *Error {
	return Errorf(http.StatusNotFound, "MissingSubscription", "The request did not have a subscription or a valid tenant level resource provider.")
}

func errInvalidPath() *Error {
	return Errorf(http.StatusBadRequest, "InvalidRequestUri", "The request URI is not valid: it has an empty or a wrongly escaped path segment.")
}

func errMethod(method string, allow []string) *Error {
	e := Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "The requested resource does not support http method '%s'.", method)
	e.Header = http.Header{"Allow": {strings.Join(allow, ", ")}}
	return e
}

func errVersionMissing() *Error {
	return Errorf(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
}

func errVersionFormat(version string, supported []string) *Error {
	return Errorf(http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '%s' is invalid. The supported versions are '%s'.", version, strings.Join(supported, ","))
}

func errVersionUnsupported(t *typeInfo, version, location string) *Error {
	list := strings.Join(t.Versions.list(), ", ")
	if location == "" {
		return Errorf(http.StatusBadRequest, "InvalidResourceType",
			"The resource type '%s' could not be found in the namespace '%s' for api version '%s'. The supported api-versions are '%s'.", t.short, t.provider.Namespace, version, list)
	}
	return Errorf(http.StatusBadRequest, "NoRegisteredProviderFound",
		"No registered resource provider found for location '%s' and API version '%s' for type '%s'. The supported api-versions are '%s'. The supported locations are ', %s'.",
		location, version, t.short, list, strings.Join(regionNames(), ", "))
}

func errNamespace(namespace string) *Error {
	return Errorf(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", namespace)
}

func errType(namespace, short, version string) *Error {
	return Errorf(http.StatusNotFound, "InvalidResourceType", "The resource type '%s' could not be found in the namespace '%s' for api version '%s'.", short, namespace, version)
}

func errSubscriptionFormat(id string) *Error {
	return Errorf(http.StatusBadRequest, "InvalidSubscriptionId", "The provided subscription identifier '%s' is malformed or invalid.", id)
}

func errSubscription(id string) *Error {
	return Errorf(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
}

func errGroup(name string) *Error {
	return Errorf(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
}

func errGroupDeleting(name string) *Error {
	return Errorf(http.StatusConflict, "ResourceGroupBeingDeleted", "The resource group '%s' is in deprovisioning state and cannot perform this operation.", name)
}

func errGroupBlocked(name string, blocked []Error) *Error {
	ids := make([]string, len(blocked))
	for i, b := range blocked {
		ids[i] = b.Target
	}
	e := Errorf(http.StatusConflict, "ResourceGroupDeletionBlocked",
		"Deletion of resource group '%s' failed as resources with identifiers '%s' could not be deleted. The provisioning state of the resource group will be rolled back.", name, strings.Join(ids, ","))
	e.Details = blocked
	return e
}

func errGroupLocation(have, want string) *Error {
	return Errorf(http.StatusConflict, "InvalidResourceGroupLocation", "Invalid resource group location '%s'. The Resource group already exists in location '%s'.", want, have)
}

func errGroupRegion(location string) *Error {
	return Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceGroup",
		"The provided location '%s' is not available for resource group. List of available regions is '%s'.", location, strings.Join(regionNames(), ","))
}

func errRegion(location, resourceType string) *Error {
	return Errorf(http.StatusBadRequest, "LocationNotAvailableForResourceType",
		"The provided location '%s' is not available for resource type '%s'. List of available regions for the resource type is '%s'.", location, resourceType, strings.Join(regionNames(), ","))
}

func errParent(name string) *Error {
	return Errorf(http.StatusNotFound, "ParentResourceNotFound", "Can not perform requested operation on nested resource. Parent resource '%s' not found.", name)
}

func errParentDeleting(name string) *Error {
	return Conflict("Can not perform requested operation on nested resource. Parent resource '%s' is being deleted.", name)
}

func errRegistration(namespace string) *Error {
	return Errorf(http.StatusConflict, "MissingSubscriptionRegistration",
		"The subscription is not registered to use namespace '%s'. See https://aka.ms/rps-not-found for how to register subscriptions.", namespace)
}

func errContent(format string, args ...any) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidRequestContent", format, args...)
	e.Message = "The request content was invalid and could not be deserialized: '" + e.Message + "'."
	return e
}

func errTooLarge(limit int64) *Error {
	return Errorf(http.StatusRequestEntityTooLarge, "RequestContentTooLarge", "The request content size exceeds the maximum size of '%d MB'.", limit>>20)
}

func errLocationRequired() *Error {
	e := Errorf(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	e.Target = "location"
	return e
}

func errLocationChange(r *Resource, want string) *Error {
	return Errorf(http.StatusConflict, "InvalidResourceLocation",
		"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
		r.ID.Name(), r.Location, r.ID.ResourceGroup(), want)
}

func errPrecondition(header, sent, have string) *Error {
	return Errorf(http.StatusPreconditionFailed, "PreconditionFailed",
		"The precondition given by one of the request headers evaluated to false. The etag '%s' provided in the header %s does not fit the resource's etag '%s'.", sent, header, orNull(have))
}

func errBusy(uri string) *Error {
	tail := ""
	if uri != "" {
		tail = " To retrieve status of the operation use uri: " + uri + "."
	}
	return Errorf(http.StatusConflict, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.%s", tail)
}

func errPreempted() *Error {
	return Errorf(http.StatusConflict, "OperationPreempted", "Operation execution has been preempted by a more recent operation.")
}

func errInternal() *Error {
	return Errorf(http.StatusInternalServerError, "InternalServerError", "The server encountered an internal error. Please retry the request.")
}

func errClosed() *Error {
	e := Errorf(http.StatusServiceUnavailable, "ServerUnavailable", "The service is stopping. The operation goes on when it is started again.")
	e.Header = http.Header{"Retry-After": {"1"}}
	return e
}

func errDeploymentActive(name string, since time.Time) *Error {
	return Errorf(http.StatusConflict, "DeploymentActive",
		"Unable to edit or replace deployment '%s': previous deployment from '%s' is still active. Please see https://aka.ms/arm-deploy for usage details.", name, since.Format("1/2/2006 3:04:05 PM"))
}

func errTemplate(format string, args ...any) *Error {
	e := Errorf(http.StatusBadRequest, "InvalidTemplate", format, args...)
	e.Message = "Deployment template validation failed: '" + e.Message + "'."
	return e
}
