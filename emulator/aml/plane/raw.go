package plane

import (
	"errors"
	"io"
	"net/http"
	"strconv"
)

// ReadBody returns the body as it came, within the bound that ReadJSON has.
// It is for bodies that are not quite JSON: Python writes NaN and Infinity.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return nil, TooLarge("The request body is larger than %d bytes.", maxJSON)
		}
		return nil, BadRequest("body", "The request body could not be read.")
	}
	if len(b) == 0 {
		return nil, BadRequest("body", "The request has no body.")
	}
	return b, nil
}

// WriteRaw writes a body that is JSON already, or what Python takes for it.
func WriteRaw(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
