package aci

import (
	"fmt"
	"net/http"

	"lazulite.dev/emulator/arm"
)

func refuse(code, target, format string, args ...any) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: code, Target: target, Message: fmt.Sprintf(format, args...)}
}

func absent(target string) *arm.Error {
	return refuse("InvalidRequestContent", target, "The request content was invalid and could not be deserialized: 'Required property '%s' not found in JSON.'.", target)
}

func unsupported(target, message string) *arm.Error {
	return refuse("OperationNotSupported", target, "%s", message)
}

func containerNotFound(container, group string) *arm.Error {
	return &arm.Error{Status: http.StatusNotFound, Code: "ContainerNotFound", Message: fmt.Sprintf("The container '%s' in container group '%s' is not found.", container, group)}
}

func labelTaken(label, group string) *arm.Error {
	return refuse("DnsNameLabelNotAvailable", "properties.ipAddress.dnsNameLabel", "The DNS name label '%s' in container group '%s' not available. Try using a different label.", label, group)
}

func inaccessible(image, group string) *arm.Error {
	return refuse("InaccessibleImage", "", "The image '%s' in container group '%s' is not accessible. Please check the image and registry credential.", image, group)
}
