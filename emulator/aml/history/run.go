package history

import (
	"encoding/json"
	"strings"
	"time"
)

// Run is a RunDto and RunDetails in one (azure-rest-api-specs runHistory.json 2019-08-01).
type Run struct {
	RunID        string     `json:"runId"`
	RunNumber    int        `json:"runNumber"`
	RootRunID    string     `json:"rootRunId"`
	ParentRunID  string     `json:"parentRunId,omitempty"`
	Experiment   string     `json:"experiment"`
	ExperimentID string     `json:"experimentId"`
	Created      time.Time  `json:"createdUtc"`
	UserID       string     `json:"userId,omitempty"`
	Status       string     `json:"status"`
	Start        *time.Time `json:"startTimeUtc,omitempty"`
	End          *time.Time `json:"endTimeUtc,omitempty"`
	Heartbeat    bool       `json:"heartbeatEnabled,omitempty"`
	// RunDefinition is what was submitted, as it came: it may hold Python's NaN.
	RunDefinition json.RawMessage   `json:"-"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	Hidden        bool              `json:"hidden,omitempty"`
	RunType       string            `json:"runType,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
	ScriptName    string            `json:"scriptName,omitempty"`
	Target        string            `json:"target,omitempty"`
	// Tags may have no value: run.tag("worked") is a nil one.
	Tags     map[string]*string `json:"tags,omitempty"`
	Error    *RunError          `json:"error,omitempty"`
	Warnings []Warning          `json:"warnings,omitempty"`
}

// RunError is why a run failed, shown in RunDetails.error.
type RunError struct{ Code, Message string }

// Warning of RunDetails.
type Warning struct {
	Source  string `json:"source"`
	Message string `json:"message"`
}

// record is a run as the store has it. Its definition is a document of its
// own, so that a change of status does not write it again.
type record struct {
	Run
	Revision      int        `json:"revision"`
	HasDefinition bool       `json:"hasDefinition,omitempty"`
	Failure       *rootError `json:"failure,omitempty"`
	// TTL of heartbeats in seconds; zero until one came.
	TTL             int             `json:"ttl,omitempty"`
	By              author          `json:"by,omitzero"`
	DataContainerID string          `json:"dataContainerId,omitempty"`
	CreatedFrom     json.RawMessage `json:"createdFrom,omitempty"`
	CancelURI       string          `json:"cancelUri,omitempty"`
	DiagnosticsURI  string          `json:"diagnosticsUri,omitempty"`
	// What SDK 1.x says of a run besides.
	DisplayName   string          `json:"displayName,omitempty"`
	PrimaryMetric string          `json:"primaryMetricName,omitempty"`
	RunTypeV2     json.RawMessage `json:"runTypeV2,omitempty"`

	rev int64 // of the document
}

// author made a run.
type author struct {
	UserID   string `json:"userObjectId,omitempty"`
	TenantID string `json:"userTenantId,omitempty"`
	UserName string `json:"userName,omitempty"`
}

// rootError mirrors RootError of the spec: the inside of an ErrorResponse.
type rootError struct {
	Code       string        `json:"code"`
	Message    string        `json:"message"`
	Target     string        `json:"target,omitempty"`
	Details    []errorDetail `json:"details"`
	InnerError *innerError   `json:"innerError,omitempty"`
}

type errorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Target  string `json:"target,omitempty"`
}

type innerError struct {
	Code       string      `json:"code"`
	InnerError *innerError `json:"innerError,omitempty"`
}

type errorResponse struct {
	Error       *rootError        `json:"error"`
	Correlation map[string]string `json:"correlation"`
	Time        string            `json:"time,omitempty"`
}

// fail records why; a reason that is there already stays.
func (r *record) fail(e *rootError) {
	if e == nil || r.Failure != nil {
		return
	}
	if e.Code == "" {
		e.Code = "UserError"
	}
	if e.Details == nil {
		e.Details = []errorDetail{}
	}
	r.Failure = e
	r.Error = &RunError{Code: e.Code, Message: e.Message}
}

// errorResponse is the run's failure on the wire, nil if it has none.
func (r *record) errorResponse() *errorResponse {
	if r.Failure == nil {
		return nil
	}
	e := &errorResponse{Error: r.Failure, Correlation: map[string]string{}}
	if r.End != nil {
		e.Time = stamp(*r.End)
	}
	return e
}

// clone is deep enough that the copy can be changed.
func (r *record) clone() *record {
	c := *r
	c.Tags = make(map[string]*string, len(r.Tags))
	for k, v := range r.Tags {
		c.Tags[k] = v
	}
	c.Properties = make(map[string]string, len(r.Properties))
	for k, v := range r.Properties {
		c.Properties[k] = v
	}
	return &c
}

// watched says that missing heartbeats make this run NotResponding.
func (r *record) watched() bool { return r.Heartbeat && r.Status == Running }

// ttl is how long the run may be silent.
func (r *record) ttl() time.Duration {
	if r.TTL <= 0 {
		return defaultTTL
	}
	return time.Duration(r.TTL) * time.Second
}

// runDTO mirrors Run of the spec; runDefinition is appended as it came.
type runDTO struct {
	RunNumber       int                `json:"runNumber"`
	RootRunID       string             `json:"rootRunId"`
	ExperimentID    string             `json:"experimentId"`
	Created         string             `json:"createdUtc"`
	CreatedBy       *author            `json:"createdBy,omitempty"`
	UserID          string             `json:"userId,omitempty"`
	Token           string             `json:"token,omitempty"`
	TokenExpiry     string             `json:"tokenExpiryTimeUtc,omitempty"`
	Error           *errorResponse     `json:"error,omitempty"`
	Warnings        []Warning          `json:"warnings"`
	Revision        int                `json:"revision"`
	RunID           string             `json:"runId"`
	ParentRunID     string             `json:"parentRunId,omitempty"`
	Status          string             `json:"status"`
	Start           string             `json:"startTimeUtc,omitempty"`
	End             string             `json:"endTimeUtc,omitempty"`
	Heartbeat       bool               `json:"heartbeatEnabled"`
	Name            string             `json:"name,omitempty"`
	DataContainerID string             `json:"dataContainerId,omitempty"`
	Description     string             `json:"description,omitempty"`
	Hidden          bool               `json:"hidden"`
	RunType         string             `json:"runType,omitempty"`
	Properties      map[string]string  `json:"properties"`
	ScriptName      string             `json:"scriptName,omitempty"`
	Target          string             `json:"target,omitempty"`
	Tags            map[string]*string `json:"tags"`
	CreatedFrom     json.RawMessage    `json:"createdFrom,omitempty"`
	CancelURI       string             `json:"cancelUri,omitempty"`
	DiagnosticsURI  string             `json:"diagnosticsUri,omitempty"`
	DisplayName     string             `json:"displayName,omitempty"`
	PrimaryMetric   string             `json:"primaryMetricName,omitempty"`
	RunTypeV2       json.RawMessage    `json:"runTypeV2,omitempty"`
}

// dataContainer names where the run's artifacts are: its own, unless a client has given it another one.
func (r *record) dataContainer() string {
	if r.DataContainerID != "" {
		return r.DataContainerID
	}
	return "dcid." + r.RunID
}

func (r *record) dto() runDTO {
	d := runDTO{
		RunNumber: r.RunNumber, RootRunID: r.RootRunID, ExperimentID: r.ExperimentID, Created: stamp(r.Created),
		UserID: r.UserID, Error: r.errorResponse(), Warnings: r.warnings(), Revision: r.Revision, RunID: r.RunID,
		ParentRunID: r.ParentRunID, Status: r.Status, Start: stampOf(r.Start), End: stampOf(r.End),
		Heartbeat: r.Heartbeat, Name: r.Name, DataContainerID: r.dataContainer(), Description: r.Description,
		Hidden: r.Hidden, RunType: r.RunType, Properties: r.properties(), ScriptName: r.ScriptName, Target: r.Target,
		Tags: r.tags(), CreatedFrom: r.CreatedFrom, CancelURI: r.CancelURI, DiagnosticsURI: r.DiagnosticsURI,
		DisplayName: r.DisplayName, PrimaryMetric: r.PrimaryMetric, RunTypeV2: r.RunTypeV2,
	}
	if r.By != (author{}) {
		by := r.By
		d.CreatedBy = &by
	}
	return d
}

// detailsDTO mirrors RunDetails of the spec; runDefinition is appended as it came.
type detailsDTO struct {
	RunID       string             `json:"runId"`
	Target      string             `json:"target,omitempty"`
	Status      string             `json:"status"`
	ParentRunID string             `json:"parentRunId,omitempty"`
	Start       string             `json:"startTimeUtc,omitempty"`
	End         string             `json:"endTimeUtc,omitempty"`
	Error       *errorResponse     `json:"error,omitempty"`
	Warnings    []Warning          `json:"warnings"`
	Tags        map[string]*string `json:"tags"`
	Properties  map[string]string  `json:"properties"`
	LogFiles    map[string]string  `json:"logFiles"`
	Revision    int                `json:"revision"`
}

func (r *record) details(logs map[string]string) detailsDTO {
	if logs == nil {
		logs = map[string]string{}
	}
	return detailsDTO{
		RunID: r.RunID, Target: r.Target, Status: r.Status, ParentRunID: r.ParentRunID, Start: stampOf(r.Start),
		End: stampOf(r.End), Error: r.errorResponse(), Warnings: r.warnings(), Tags: r.tags(),
		Properties: r.properties(), LogFiles: logs, Revision: r.Revision,
	}
}

// runTypeV2 is the orchestrator, or a trait ("Traits/x") as its own name.
func (r *record) runTypeV2(key string) (string, bool) {
	var v struct {
		Orchestrator string   `json:"orchestrator"`
		Traits       []string `json:"traits"`
	}
	if len(r.RunTypeV2) == 0 || json.Unmarshal(r.RunTypeV2, &v) != nil {
		return "", false
	}
	if strings.EqualFold(key, "orchestrator") {
		return v.Orchestrator, v.Orchestrator != ""
	}
	for _, trait := range v.Traits {
		if strings.EqualFold(key, "traits/"+trait) {
			return trait, true
		}
	}
	return "", false
}

// The SDK iterates these without asking whether they are there.

func (r *record) warnings() []Warning {
	if r.Warnings == nil {
		return []Warning{}
	}
	return r.Warnings
}

func (r *record) tags() map[string]*string {
	if r.Tags == nil {
		return map[string]*string{}
	}
	return r.Tags
}

func (r *record) properties() map[string]string {
	if r.Properties == nil {
		return map[string]string{}
	}
	return r.Properties
}

// withDefinition marshals a DTO and puts the run's definition in as it came,
// which encoding/json would refuse to do with Python's NaN.
func withDefinition(dto any, definition []byte) ([]byte, error) {
	b, err := json.Marshal(dto)
	if err != nil || len(definition) == 0 {
		return b, err
	}
	b = append(b[:len(b)-1], `,"runDefinition":`...)
	b = append(b, definition...)
	return append(b, '}'), nil
}
