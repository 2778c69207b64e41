package blob

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lazulite.dev/emulator/store"
)

// Error is a refusal as the storage service words it: "Status and error
// codes" of the Blob service REST API.
type Error struct {
	Status  int
	Code    string
	Message string
	// Details are extra elements of the XML, such as AuthenticationErrorDetail.
	Details []Detail
	header  http.Header
}

// Detail is one extra element of an Error.
type Detail struct{ Name, Value string }

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("blob: %s: %s", e.Code, e.Message)
	for _, d := range e.Details {
		s += fmt.Sprintf(" (%s: %s)", d.Name, d.Value)
	}
	return s
}

// Is makes what is absent match store.ErrNotFound, and a full closing match store.ErrClosed.
func (e *Error) Is(target error) bool {
	switch target {
	case store.ErrNotFound:
		return e.Status == http.StatusNotFound
	case store.ErrClosed:
		return e.Code == "ServerBusy"
	}
	return false
}

func (e *Error) with(name, value string) *Error {
	e.Details = append(e.Details, Detail{name, value})
	return e
}

func (e *Error) set(header, value string) *Error {
	if e.header == nil {
		e.header = http.Header{}
	}
	e.header.Set(header, value)
	return e
}

type wording struct {
	status  int
	message string
}

// wordings are the codes in use with the real service's status and text.
var wordings = map[string]wording{
	"AccountNameInvalid":                {400, "The storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."},
	"NoPendingCopyOperation":            {409, "There is currently no pending copy operation."},
	"AppendPositionConditionNotMet":     {412, "The append position condition specified was not met."},
	"AuthenticationFailed":              {403, "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."},
	"AuthorizationFailure":              {403, "This request is not authorized to perform this operation."},
	"AuthorizationPermissionMismatch":   {403, "This request is not authorized to perform this operation using this permission."},
	"AuthorizationProtocolMismatch":     {403, "This request is not authorized to perform this operation using this protocol."},
	"AuthorizationResourceTypeMismatch": {403, "This request is not authorized to perform this operation using this resource type."},
	"AuthorizationServiceMismatch":      {403, "This request is not authorized to perform this operation using this service."},
	"AuthorizationSourceIPMismatch":     {403, "This request is not authorized to perform this operation using this source IP {0}."},
	"BlobAlreadyExists":                 {409, "The specified blob already exists."},
	"BlobNotFound":                      {404, "The specified blob does not exist."},
	"BlobTypeNotSupported":              {409, "The type of blob in the container is unrecognized or not supported by this version: page blobs are not supported."},
	"BlockCountExceedsLimit":            {409, "The committed block count cannot exceed the maximum limit of 50,000 blocks."},
	"BlockListTooLong":                  {400, "The block list may not contain more than 50,000 blocks."},
	"BothCrc64AndMd5HeaderPresent":      {400, "Both x-ms-content-crc64 header and Content-MD5 header are present."},
	"CannotVerifyCopySource":            {404, "The specified resource does not exist."},
	"ConditionNotMet":                   {412, "The condition specified using HTTP conditional header(s) is not met."},
	"ContainerAlreadyExists":            {409, "The specified container already exists."},
	"ContainerNotFound":                 {404, "The specified container does not exist."},
	"Crc64Mismatch":                     {400, "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server."},
	"EmptyMetadataKey":                  {400, "The key for one of the metadata key-value pairs is empty."},
	"InternalError":                     {500, "Server encountered an internal error. Please try again after some time."},
	"InvalidAuthenticationInfo":         {401, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."},
	"InvalidBlobOrBlock":                {400, "The specified blob or block content is invalid."},
	"InvalidBlobType":                   {409, "The blob type is invalid for this operation."},
	"InvalidBlockId":                    {400, "The specified block ID is invalid. The block ID must be Base64-encoded."},
	"InvalidBlockList":                  {400, "The specified block list is invalid."},
	"InvalidHeaderValue":                {400, "The value for one of the HTTP headers is not in the correct format."},
	"InvalidMd5":                        {400, "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded."},
	"InvalidMetadata":                   {400, "The metadata specified is invalid. It contains characters that are not permitted."},
	"InvalidQueryParameterValue":        {400, "Value for one of the query parameters specified in the request URI is invalid."},
	"InvalidRange":                      {416, "The range specified is invalid for the current size of the resource."},
	"InvalidResourceName":               {400, "The specifed resource name contains invalid characters."},
	"InvalidUri":                        {400, "The requested URI does not represent any resource on the server."},
	"InvalidXmlDocument":                {400, "XML specified is not syntactically valid."},
	"InvalidXmlNodeValue":               {400, "The value for one of the XML nodes is not in the correct format."},
	"MaxBlobSizeConditionNotMet":        {412, "The max blob size condition specified was not met."},
	"Md5Mismatch":                       {400, "The MD5 value specified in the request did not match with the MD5 value calculated by the server."},
	"MetadataTooLarge":                  {400, "The metadata specified exceeds the maximum allowable limit (8KB)."},
	"MissingContentLengthHeader":        {411, "Content-Length HTTP header was not specified."},
	"MissingRequiredHeader":             {400, "An HTTP header that's mandatory for this request is not specified."},
	"MissingRequiredQueryParameter":     {400, "A query parameter that's mandatory for this request is not specified."},
	"NotImplemented":                    {501, "The requested operation is not implemented on the specified resource."},
	"OutOfRangeInput":                   {400, "One of the request inputs is out of range."},
	"OutOfRangeQueryParameterValue":     {400, "One of the query parameters specified in the request URI is outside the permissible range."},
	"RequestBodyTooLarge":               {413, "The request body is too large and exceeds the maximum permissible limit."},
	"ResourceNotFound":                  {404, "The specified resource does not exist."},
	"ServerBusy":                        {503, "The server is busy."},
	"UnauthorizedBlobOverwrite":         {403, "This request is not authorized to perform blob overwrites."},
	"UnsupportedHeader":                 {400, "One of the HTTP headers specified in the request is not supported."},
	"UnsupportedHttpVerb":               {405, "The resource doesn't support specified Http Verb."},
	"RequestUrlFailedToParse":           {400, "Failed to parse the request URL."},
	"IncompleteBody":                    {400, "The request body is shorter than its Content-Length says."},
	"ShareAlreadyExists":                {409, "The specified share already exists."},
	"ShareNotFound":                     {404, "The specified share does not exist."},
	"ParentNotFound":                    {404, "The specified parent path does not exist."},
	"ResourceAlreadyExists":             {409, "The specified resource already exists."},
	"ResourceTypeMismatch":              {409, "The specified resource type does not match the type of the existing resource."},
	"ReadOnlyAttribute":                 {409, "The specified resource is read-only and cannot be modified at this time."},
	"DirectoryNotEmpty":                 {409, "The specified directory is not empty."},
}

// fail makes the error of a code with the real service's words.
func fail(code string) *Error {
	w, ok := wordings[code]
	if !ok {
		w = wordings["InternalError"]
	}
	return &Error{Status: w.status, Code: code, Message: w.message}
}

func badHeader(name, value string) *Error {
	return fail("InvalidHeaderValue").with("HeaderName", name).with("HeaderValue", value)
}

func missingHeader(name string) *Error {
	return fail("MissingRequiredHeader").with("HeaderName", name)
}

func badQuery(name, value, reason string) *Error {
	return fail("InvalidQueryParameterValue").with("QueryParameterName", name).
		with("QueryParameterValue", value).with("Reason", reason)
}

// denied is the answer to a credential that does not hold; detail says why and never quotes a secret.
func denied(format string, args ...any) *Error {
	return fail("AuthenticationFailed").with("AuthenticationErrorDetail", fmt.Sprintf(format, args...))
}

// writeError is the one place where the storage service's error envelope is written.
func writeError(w http.ResponseWriter, r *http.Request, e *Error, requestID string, now time.Time) {
	h := w.Header()
	for name, values := range e.header {
		h[name] = values
	}
	h.Del("ETag")
	h.Del("Content-Range")
	for name, values := range e.header {
		h[name] = values
	}
	h.Set("x-ms-error-code", e.Code)
	if e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	var b strings.Builder
	b.WriteString("\ufeff" + `<?xml version="1.0" encoding="utf-8"?><Error>`)
	element(&b, "Code", e.Code)
	element(&b, "Message", fmt.Sprintf("%s\nRequestId:%s\nTime:%s", e.Message, requestID, now.UTC().Format("2006-01-02T15:04:05.0000000Z")))
	for _, d := range e.Details {
		element(&b, d.Name, d.Value)
	}
	b.WriteString("</Error>")
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", fmt.Sprint(b.Len()))
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(b.String()))
	}
}

// element writes <name>text</name>. Line breaks stay as they are: clients show the text.
func element(b *strings.Builder, name, text string) {
	b.WriteString("<" + name + ">")
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		_ = xml.EscapeText(b, []byte(line)) // a strings.Builder takes every write
	}
	b.WriteString("</" + name + ">")
}
