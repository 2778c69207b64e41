package dsvm

import (
	"fmt"
	"net/http"

	"lazulite.dev/emulator/arm"
)

func invalid(target, message string) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidParameter", Message: message, Target: target}
}

func missing(target string) *arm.Error {
	return invalid(target, fmt.Sprintf("Required parameter '%s' is missing (null).", target))
}

func unchangeable(target string) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "PropertyChangeNotAllowed", Message: fmt.Sprintf("Changing property '%s' is not allowed.", target), Target: target}
}

func badReference(path, id string) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "LinkedInvalidPropertyId", Message: fmt.Sprintf("Property id '%s' at path '%s' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'.", id, path)}
}

func absentReference(id string, by arm.ID) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidResourceReference", Message: fmt.Sprintf("Resource %s referenced by resource %s was not found. Please make sure that the referenced resource exists, and that both resources are in the same region.", id, by)}
}

func overQuota(what string, limit, used, more int) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Operation results in exceeding quota limits of %s. Maximum allowed: %d, Current in use: %d, Additional requested: %d. Please read more about quota increase at http://aka.ms/corequotaincrease.", what, limit, used, more)}
}

func allocationFailed(why string) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "AllocationFailed", Message: "Allocation failed. " + why}
}

// unsupported refuses what Azure can and this fake cannot.
func unsupported(target, message string) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "OperationNotSupported", Message: message, Target: target}
}
