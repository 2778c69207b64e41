// Package openapi holds answers of a resource manager against Azure's own
// OpenAPI (Swagger 2.0) documents, where there is one for the provider and the
// api-version of the request.
//
// It tells what an answer has that its document does not allow: a status, a
// missing property, another JSON type, a word outside a closed enumeration, a
// secret. It is lenient where Azure is: null is as good as absent, enumerations
// with modelAsString are open, and properties beyond the document are only
// noted. What the real service itself does beside its documents is a line of
// deviations.json, with its evidence.
//
// The documents are not part of this package: Load reads a folder in the layout
// of Azure/azure-rest-api-specs. It judges no request, and no data plane.
package openapi

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/go-openapi/spec"
)

// Documents are the operations of a folder of documents.
type Documents struct {
	// operations by method, lower-case provider and api-version.
	operations map[string][]*operation

	mu    sync.Mutex
	files map[string]*spec.Swagger
}

// operation is one method of one path of one document.
type operation struct {
	id       string
	file     string
	segments []string
	literals int
	spec     *spec.Operation
}

// Exchange is a request and its answer.
type Exchange struct {
	Method string
	URL    *url.URL
	Status int
	Header http.Header
	Body   []byte
}

// Kinds of Deviation.
const (
	Status     = "status"     // the document does not declare it
	Shape      = "shape"      // type, required property, closed enumeration, format
	Secret     = "secret"     // a property that is marked x-ms-secret came back
	Undeclared = "undeclared" // a property beyond the document: only a note
)

// Deviation of one answer from its document.
type Deviation struct {
	Operation string `json:"operation"` // operationId
	Version   string `json:"version"`   // api-version
	Kind      string `json:"kind"`
	// At is the path of the property, with [] for the items of an array, or the status.
	At   string `json:"at,omitempty"`
	Text string `json:"text,omitempty"`
}

// String is one line.
func (d Deviation) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s) %s %s: %s", d.Operation, d.Version, d.Kind, d.At, d.Text))
}

// Load reads all documents of resource managers below dir. Examples and data planes are left out.
func Load(dir string) (*Documents, error) {
	d := &Documents{operations: map[string][]*operation{}, files: map[string]*spec.Swagger{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "examples" || e.Name() == "data-plane"):
			return filepath.SkipDir
		case e.IsDir() || filepath.Ext(path) != ".json":
			return nil
		}
		return d.add(path)
	})
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	if len(d.operations) == 0 {
		return nil, fmt.Errorf("openapi: no documents below %s", dir)
	}
	for _, list := range d.operations {
		sort.SliceStable(list, func(i, j int) bool { return list[i].literals > list[j].literals })
	}
	return d, nil
}

func (d *Documents) file(path string) (*spec.Swagger, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if doc := d.files[path]; doc != nil {
		return doc, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	doc := &spec.Swagger{}
	if err := json.Unmarshal(b, doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.files[path] = doc
	return doc, nil
}

func (d *Documents) add(path string) error {
	doc, err := d.file(path)
	if err != nil {
		return err
	}
	if doc.Paths == nil || doc.Info == nil {
		return nil
	}
	for template, item := range doc.Paths.Paths {
		for method, op := range map[string]*spec.Operation{http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete, http.MethodHead: item.Head} {
			if op == nil || op.Responses == nil {
				continue
			}
			o := &operation{id: op.ID, file: path, spec: op, segments: segments(template)}
			for _, s := range o.segments {
				if !strings.HasPrefix(s, "{") {
					o.literals++
				}
			}
			key := method + " " + doc.Info.Version
			d.operations[key] = append(d.operations[key], o)
		}
	}
	return nil
}

func segments(path string) []string {
	return strings.Split(strings.Trim(strings.TrimSuffix(path, "/"), "/"), "/")
}

// find returns the operation of a request, nil if no document has it.
func (d *Documents) find(method string, u *url.URL) *operation {
	want := segments(u.Path)
	for _, o := range d.operations[method+" "+u.Query().Get("api-version")] {
		if matches(o.segments, want) {
			return o
		}
	}
	return nil
}

func matches(template, path []string) bool {
	if len(template) != len(path) {
		return false
	}
	for i, t := range template {
		if !strings.HasPrefix(t, "{") && !strings.EqualFold(t, path[i]) {
			return false
		}
	}
	return true
}

// Check returns what is wrong with an answer, and whether there is a document for it.
func (d *Documents) Check(e Exchange) (deviations []Deviation, documented bool) {
	op := d.find(e.Method, e.URL)
	if op == nil {
		return nil, false
	}
	w := &walk{docs: d}
	version := e.URL.Query().Get("api-version")
	defer func() {
		for i := range deviations {
			deviations[i].Operation, deviations[i].Version = op.id, version
		}
	}()
	response, declared := op.spec.Responses.StatusCodeResponses[e.Status]
	switch {
	case declared:
	case e.Status >= 400 || e.Status == http.StatusNotModified:
		if op.spec.Responses.Default == nil {
			return nil, true
		}
		response = *op.spec.Responses.Default
	default:
		return []Deviation{{Kind: Status, At: strconv.Itoa(e.Status), Text: "is not declared"}}, true
	}
	if response.Schema == nil || len(e.Body) == 0 {
		if declared && response.Schema != nil && e.Method != http.MethodHead && e.Status == http.StatusOK {
			return []Deviation{{Kind: Shape, Text: "the body is empty"}}, true
		}
		return nil, true
	}
	var body any
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return []Deviation{{Kind: Shape, Text: "the body is no JSON: " + err.Error()}}, true
	}
	w.value(schema{response.Schema, op.file}, body, "")
	return w.found, true
}
