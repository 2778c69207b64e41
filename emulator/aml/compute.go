package aml

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/arm"
)

// compute mirrors Compute of machineLearningServices.json 2018-03-01-preview: the outer properties.
type compute struct {
	ComputeType     string            `json:"computeType"`
	ComputeLocation string            `json:"computeLocation,omitempty"`
	Description     *string           `json:"description"`
	CreatedOn       string            `json:"createdOn"`
	ModifiedOn      string            `json:"modifiedOn"`
	ResourceID      *string           `json:"resourceId"`
	Errors          []computeError    `json:"provisioningErrors"`
	Properties      computeProperties `json:"properties"`
	Attached        *bool             `json:"isAttachedCompute,omitempty"`
	State           string            `json:"provisioningState,omitempty"`
}

// computeProperties are the inner ones, of all kinds of computes.
type computeProperties struct {
	virtualMachine
	cluster
}

type computeError struct {
	Error computeErrorBody `json:"error"`
}

type computeErrorBody struct {
	Code       string `json:"code"`
	StatusCode int    `json:"statusCode,omitempty"`
	Message    string `json:"message"`
}

// virtualMachine mirrors VirtualMachine.properties.
type virtualMachine struct {
	Size    string   `json:"virtualMachineSize,omitempty"`
	SSHPort sshPort  `json:"sshPort,omitempty"`
	Address string   `json:"address,omitempty"`
	Account *account `json:"administratorAccount,omitempty"`
}

// sshPort takes a number, a string of one, and the empty string that SDK 0.1.68 sends for none.
type sshPort int

// UnmarshalJSON implements json.Unmarshaler.
func (p *sshPort) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || text == "null" {
		*p = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 65535 {
		return &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Target: "properties.properties.sshPort",
			Message: fmt.Sprintf("The SSH port %s is invalid: it must be a number from 1 to 65535.", b)}
	}
	*p = sshPort(n)
	return nil
}

// account mirrors VirtualMachineSshCredentials. It is kept in Resource.Private and never returned but by listKeys.
type account struct {
	Username   string `json:"username,omitempty"`
	Password   string `json:"password,omitempty"`
	PublicKey  string `json:"publicKeyData,omitempty"`
	PrivateKey string `json:"privateKeyData,omitempty"`
	Passphrase string `json:"passphrase,omitempty"`
}

// computeNotes is Resource.Private of a compute.
type computeNotes struct {
	Account account `json:"account"`
	// Created computes own the machine that they run on: it goes with them.
	Created bool `json:"created"`
	// Machine is the name of the VM and stem of its network resources.
	Machine string `json:"machine,omitempty"`
	// Disks are the ids of the machine's managed disks, which outlive it and are deleted after it.
	Disks []string `json:"disks,omitempty"`
	// Detached leaves the machine where it is when the compute goes.
	Detached bool `json:"detached,omitempty"`
	// Cluster is the ARM id of a created compute's cluster, Home that of the Batch AI
	// workspace that was made for it; empty: it is in one that was there.
	Cluster string `json:"cluster,omitempty"`
	Home    string `json:"home,omitempty"`
	// Resize says that the cluster has not been told its new scale settings yet.
	Resize bool `json:"resize,omitempty"`
	// Attempts counts tries to reach a machine that has just come up.
	Attempts int `json:"attempts,omitempty"`
}

// computeName takes every name that the documents and notebooks of 2018 give to
// a compute ("attach-dsvm", "attached_vm", a workspace's name with "gpu" after it).
var computeName = regexp.MustCompile(`^[a-zA-Z][\w-]{1,35}$`)

// operationStatus is where the SDK polls a compute's operation.
const operationStatus = "{base}/subscriptions/{subscription}/providers/" + Namespace +
	"/locations/{location}/computeOperationsStatus/{operation}?api-version={version}"

func (s *Service) computeType() arm.Type {
	put := arm.LRO{Status: http.StatusCreated, AsyncOperation: operationStatus, Operation: renderComputeOperation, Running: "InProgress"}
	update := put
	update.Status = http.StatusOK
	return arm.Type{
		Name:        Namespace + "/workspaces/computes",
		Versions:    computeVersions,
		PutNew:      put,
		PutOld:      update,
		Patch:       update,
		Delete:      arm.LRO{Status: http.StatusAccepted, NoBody: true, AsyncOperation: operationStatus, Operation: renderComputeOperation, Running: "InProgress"},
		Schema:      computeSchema(),
		Admit:       s.admitCompute,
		AdmitDelete: admitComputeDelete,
		Reconciler:  computeReconciler{s},
		Render:      s.renderCompute,
		// How many nodes a cluster has is no business of the compute's own document.
		Live: true,
		Actions: map[string]arm.Action{"listKeys": {ReadOnly: true, Sync: listComputeKeys},
			"listNodes": {ReadOnly: true, Sync: s.listNodes}},
	}
}

func badCompute(target, format string, args ...any) *arm.Error {
	return &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Target: target, Message: fmt.Sprintf(format, args...)}
}

func (s *Service) admitCompute(ctx context.Context, v arm.View, call arm.Call, old, next *arm.Resource) error {
	name := next.ID.Name()
	if old == nil && !computeName.MatchString(name) {
		return badCompute("computeName", "Compute name '%s' is invalid. It must be 2 to 36 characters of letters, digits, '-' and '_', and start with a letter.", name)
	}
	var c compute
	if err := json.Unmarshal(next.Properties, &c); err != nil {
		return err
	}
	was, notes, err := computeOf(old)
	if err != nil {
		return err
	}
	if old != nil && (was == nil || !isCluster(was.ComputeType) || !isCluster(c.ComputeType) || call.Header.Get("If-None-Match") == "*") {
		return &arm.Error{Status: http.StatusConflict, Code: "Conflict",
			Message: fmt.Sprintf("A compute with the name '%s' already exists in the workspace.", name)}
	}
	if c.ComputeLocation == "" {
		c.ComputeLocation = next.Location
	}
	stamp := next.Created.UTC().Format(time.RFC3339)
	if old != nil {
		stamp = s.cfg.Clock.Now().UTC().Format(time.RFC3339)
	}
	c.CreatedOn, c.ModifiedOn = stamp, stamp
	switch {
	case isCluster(c.ComputeType):
		err = s.admitCluster(ctx, v, call, was, next, &c, notes)
	case strings.EqualFold(c.ComputeType, "VirtualMachine"):
		c.ComputeType = "VirtualMachine"
		err = s.admitMachine(ctx, v, next, &c, notes)
	case strings.EqualFold(c.ComputeType, typeHDInsight):
		c.ComputeType = typeHDInsight
		err = s.admitHDInsight(ctx, v, &c, notes)
	default:
		err = badCompute("properties.computeType", "The compute type '%s' is not supported. Supported types are: VirtualMachine, HDInsight, %s.",
			c.ComputeType, shapeOf(computeShapes, call.Version).cluster)
	}
	if err != nil {
		return err
	}
	c.State, c.Attached, c.Errors = "", nil, nil
	if next.Private, err = json.Marshal(notes); err != nil {
		return err
	}
	next.Properties, err = json.Marshal(c)
	return err
}

// computeOf reads a stored compute; nil and empty notes for none.
func computeOf(r *arm.Resource) (*compute, *computeNotes, error) {
	if r == nil {
		return nil, &computeNotes{}, nil
	}
	var c compute
	var notes computeNotes
	if err := json.Unmarshal(r.Properties, &c); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(r.Private, &notes); err != nil {
		return nil, nil, err
	}
	return &c, &notes, nil
}

// admitMachine checks a virtual machine that is to be made or attached.
func (s *Service) admitMachine(ctx context.Context, v arm.View, next *arm.Resource, c *compute, notes *computeNotes) error {
	if c.Properties.Account != nil {
		notes.Account = *c.Properties.Account
		c.Properties.Account = nil
	}
	switch {
	case c.Properties.Address != "" || c.ResourceID != nil && *c.ResourceID != "":
		return s.admitAttach(ctx, v, c, notes)
	case c.Properties.Size == "" && notes.Account.Username != "":
		return badCompute("properties.properties.address", "An address is required to attach a virtual machine, or a virtualMachineSize to create one.")
	}
	notes.Created = true
	if c.Properties.Size == "" {
		c.Properties.Size = defaultSize
	}
	return s.checkSize(ctx, next.ID.Subscription(), next.Location, "properties.properties.virtualMachineSize", c.Properties.Size)
}

// admitAttach checks what an attached machine needs; the machine itself is asked by the reconciler.
func (s *Service) admitAttach(ctx context.Context, v arm.View, c *compute, notes *computeNotes) error {
	if notes.Account.Username == "" {
		return badCompute("properties.properties.administratorAccount.username", "A user name is required to attach a virtual machine.")
	}
	if notes.Account.Password == "" && notes.Account.PrivateKey == "" {
		return badCompute("properties.properties.administratorAccount", "A password or a private key is required to attach a virtual machine.")
	}
	if c.Properties.SSHPort == 0 {
		c.Properties.SSHPort = 22
	}
	if c.Properties.Address != "" {
		if strings.ContainsAny(c.Properties.Address, " /\\@?#\t\r\n") {
			return badCompute("properties.properties.address", "The address '%s' is not a host name or an IP address.", c.Properties.Address)
		}
		return nil
	}
	id, err := arm.ParseID(*c.ResourceID)
	if err != nil || !strings.EqualFold(id.Type(), "Microsoft.Compute/virtualMachines") {
		return badCompute("properties.resourceId", "The resource id '%s' is not that of a virtual machine.", *c.ResourceID)
	}
	_, err = v.Get(ctx, id)
	return err
}

// admitComputeDelete reads what is to become of the machine: UnderlyingResourceAction of 2018-11-19.
func admitComputeDelete(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	if c.Version == "" || !shapeOf(computeShapes, c.Version).action {
		return nil
	}
	var notes computeNotes
	if err := json.Unmarshal(r.Private, &notes); err != nil {
		return err
	}
	action := ""
	for name, values := range c.Query {
		if strings.EqualFold(name, "underlyingResourceAction") && len(values) > 0 {
			action = values[0]
		}
	}
	switch strings.ToLower(action) {
	case "delete":
		if !notes.Created {
			return badCompute("underlyingResourceAction", "The compute '%s' was attached, so its machine can't be deleted. Detach it instead.", r.ID.Name())
		}
	case "detach":
		notes.Detached = true
	case "":
		return badCompute("underlyingResourceAction", "The query parameter 'underlyingResourceAction' is required: Delete or Detach.")
	default:
		return badCompute("underlyingResourceAction", "The value '%s' of 'underlyingResourceAction' is invalid: it must be Delete or Detach.", action)
	}
	var err error
	r.Private, err = json.Marshal(notes)
	return err
}

// renderCompute is the compute's wire form for the api-version that asks.
func (s *Service) renderCompute(call arm.Call, r *arm.Resource) (any, error) {
	shape := shapeOf(computeShapes, call.Version)
	c, notes, err := computeOf(r)
	if err != nil {
		return nil, err
	}
	c.State = r.State
	c.Properties.Account = nil
	if shape.attached {
		attached := !notes.Created
		c.Attached = &attached
	}
	var more map[string]any
	if isCluster(c.ComputeType) {
		more = s.renderCluster(shape, r, c, notes)
	}
	properties, err := withMore(c, more)
	if err != nil {
		return nil, err
	}
	id := r.ID.String()
	if shape.bareID {
		id = r.ID.Name()
	}
	return map[string]any{"id": id, "name": r.ID.Name(), "type": Namespace + "/workspaces/computes",
		"location": r.Location, "tags": r.Tags, "properties": properties}, nil
}

// withMore is a compute with members that are not kept in its document.
func withMore(c *compute, more map[string]any) (any, error) {
	if len(more) == 0 {
		return c, nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range more {
		all[name] = value
	}
	return all, nil
}

// renderComputeOperation nests the error as SDK 0.1.68 reads it; "error" is left out when there is none, for null crashes it.
func renderComputeOperation(call arm.Call, op *arm.Operation, _ *arm.Resource) any {
	doc := map[string]any{"id": op.ID, "status": op.Status, "startTime": op.Start.UTC().Format(time.RFC3339)}
	if !op.End.IsZero() {
		doc["endTime"] = op.End.UTC().Format(time.RFC3339)
	}
	if op.Error != nil {
		body := computeErrorBody{Code: op.Error.Code, StatusCode: op.Error.Status, Message: op.Error.Message}
		if shapeOf(computeShapes, call.Version).nestedError {
			doc["error"] = computeError{body}
		} else {
			doc["error"] = body
		}
	}
	return doc
}

func listComputeKeys(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	var notes computeNotes
	if err := json.Unmarshal(r.Private, &notes); err != nil {
		return 0, nil, err
	}
	var c compute
	if err := json.Unmarshal(r.Properties, &c); err != nil {
		return 0, nil, err
	}
	a := notes.Account
	return http.StatusOK, map[string]any{"computeType": c.ComputeType, "username": a.Username, "password": nilIfEmpty(a.Password),
		"publicKeyData": nilIfEmpty(a.PublicKey), "privateKeyData": nilIfEmpty(a.PrivateKey)}, nil
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Find implements execution.Computes: the machine behind a compute's name.
func (s *Service) Find(ctx context.Context, ws plane.Workspace, name string) (execution.Compute, error) {
	id, err := arm.ParseID(ws.ID() + "/computes/" + name)
	if err != nil {
		return execution.Compute{}, plane.BadRequest("target", "'%s' is not the name of a compute target.", name)
	}
	r, err := s.engine.Load().Get(ctx, id)
	if err != nil {
		return execution.Compute{}, notFoundOr(err, plane.NotFound("Compute target '%s' was not found in workspace '%s'.", name, ws.Workspace))
	}
	c, notes, err := computeOf(r)
	if err != nil {
		return execution.Compute{}, err
	}
	out := execution.Compute{Name: r.ID.Name(), Type: c.ComputeType, State: r.State, Generation: c.CreatedOn}
	if isCluster(c.ComputeType) {
		if c.ResourceID != nil {
			out.ResourceID = *c.ResourceID
		}
		return out, nil
	}
	out.SSHTarget = notes.ssh(*c)
	return out, nil
}
