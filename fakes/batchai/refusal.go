package batchai

import (
	"fmt"
	"net/http"
	"strings"

	"lazulite.dev/emulator/arm"
)

// propertyRefused is Batch AI's answer to a value that it can't take, as users
// met it: "The specified value X for property Cluster.Properties.VMSize is not a
// supported VM size." target is the property's path in the request.
func propertyRefused(kind, target string, value any, why string, details ...arm.Error) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidPropertyValue", Target: "properties." + target, Details: details,
		Message: fmt.Sprintf("The specified value %v for property %s.Properties.%s %s", value, kind, pascal(target), why)}
}

func propertyMissing(kind, target string) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "MissingRequiredProperty", Target: "properties." + target,
		Message: fmt.Sprintf("The required property %s.Properties.%s was not specified in the request body.", kind, pascal(target))}
}

// pascal is a property's path as the service's own words have it.
func pascal(path string) string {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "."), "VmSize", "VMSize")
}

// absent is the 404 of a kind of resource, in its reason phrase too: "The specified cluster c is not found".
func absent(kind string) *arm.Error {
	text := "The specified " + words(kind) + " %s is not found"
	return &arm.Error{Status: http.StatusNotFound, Code: kind + "NotFound", Message: text, Phrase: text}
}

// words is a kind in the middle of a sentence.
func words(kind string) string {
	if kind == "FileServer" {
		return "file server"
	}
	return strings.ToLower(kind)
}

// exists refuses another definition under a name that is taken: what makes a
// cluster, a job or a file server can't be changed.
func exists(kind, name string) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: kind + "AlreadyExists", Message: fmt.Sprintf("The specified %s %s already exists with other properties", words(kind), name)}
}

func quotaReached(code, of string, limit, used int, more string) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: code,
		Message: fmt.Sprintf("Operation results in exceeding quota limits of %s. Maximum allowed: %d, Current in use: %d%s. Please contact support to increase the quota for resource type Microsoft.BatchAI/clusters", of, limit, used, more)}
}
