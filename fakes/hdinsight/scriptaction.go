package hdinsight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight/cluster"
)

// scriptAction is RuntimeScriptAction.
type scriptAction struct {
	Name            string   `json:"name"`
	URI             string   `json:"uri"`
	Parameters      string   `json:"parameters,omitempty"`
	Roles           []string `json:"roles"`
	ApplicationName string   `json:"applicationName,omitempty"`
}

func (a scriptAction) onRole(name string) bool {
	return slices.ContainsFunc(a.Roles, func(r string) bool { return strings.EqualFold(r, name) })
}

// execution is RuntimeScriptActionDetail.
type execution struct {
	ID int64 `json:"scriptExecutionId"`
	scriptAction
	StartTime        string             `json:"startTime"`
	EndTime          string             `json:"endTime"`
	Status           string             `json:"status"`
	Operation        string             `json:"operation"`
	ExecutionSummary []executionSummary `json:"executionSummary"`
	DebugInformation string             `json:"debugInformation,omitempty"`
}

type executionSummary struct {
	Status        string `json:"status"`
	InstanceCount int    `json:"instanceCount"`
}

// How many executions a cluster remembers, and how long a script may be.
const (
	maxHistory = 100
	maxScript  = 8 << 20
)

func workerName(i int) string { return "wn" + strconv.Itoa(i) }

// beginScripts is POST executeScriptActions.
func (f *Fake) beginScripts(ctx context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	s, n, err := ready(r)
	if err != nil {
		return err
	}
	var body struct {
		ScriptActions    []scriptAction `json:"scriptActions"`
		PersistOnSuccess bool           `json:"persistOnSuccess"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return badRequest("The request has no scriptActions, or one of a wrong type.")
	}
	if len(body.ScriptActions) == 0 {
		return badRequest("The request has no scriptActions.")
	}
	for i, a := range body.ScriptActions {
		if err := f.checkScript(ctx, a, s); err != nil {
			return err
		}
		if body.PersistOnSuccess && n.persisted(a.Name) >= 0 {
			return arm.Errorf(http.StatusConflict, "Conflict", "A persisted script action with the name '%s' exists on the cluster.", a.Name)
		}
		body.ScriptActions[i].ApplicationName = ""
	}
	n.Work = &work{Kind: "script", Scripts: body.ScriptActions, Persist: body.PersistOnSuccess}
	return n.store(r)
}

// checkScript refuses an action that could not run: without a name, for nobody, or out of reach.
func (f *Fake) checkScript(ctx context.Context, a scriptAction, s shown) error {
	switch {
	case strings.TrimSpace(a.Name) == "":
		return invalidDocument("scriptActions.name", "The name of a script action is missing")
	case a.URI == "":
		return invalidDocument("scriptActions.uri", "The URI of the script action '%s' is missing", a.Name)
	case len(a.Roles) == 0:
		return invalidDocument("scriptActions.roles", "The script action '%s' has no roles", a.Name)
	}
	for _, role := range a.Roles {
		if s.role(role) == nil && !strings.EqualFold(role, "edgenode") {
			return invalidDocument("scriptActions.roles", "The role '%s' of the script action '%s' is not one of the cluster's", role, a.Name)
		}
	}
	if _, err := f.fetch(ctx, a.URI); err != nil {
		return invalidDocument("scriptActions.uri", "Script Action location cannot be accessed Uri : %s ErrorMessage : %v", a.URI, err)
	}
	return nil
}

// fetch gets a script. wasb is the account's blob endpoint.
func (f *Fake) fetch(ctx context.Context, uri string) ([]byte, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, errors.New("the URI is invalid")
	}
	switch u.Scheme {
	case "wasb", "wasbs":
		u = &url.URL{Scheme: "https", Host: u.Host, Path: "/" + u.User.Username() + u.Path}
	case "http", "https":
	default:
		return nil, fmt.Errorf("the scheme '%s' is not supported", u.Scheme)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	a, err := (&http.Client{Transport: f.cfg.Transport}).Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		//lint:ignore ST1005 the service's own words
		return nil, fmt.Errorf("The remote server returned an error: (%d) %s.", a.StatusCode, http.StatusText(a.StatusCode))
	}
	data, err := io.ReadAll(io.LimitReader(a.Body, maxScript+1))
	if err == nil && len(data) > maxScript {
		err = errors.New("the script is too long")
	}
	return data, err
}

// runScripts does what is asked for, once: what an emulator that is gone began
// may have done its work, so it is a failure and not begun again.
func (f *Fake) runScripts(ctx context.Context, c *cluster.Cluster, n *notes) error {
	switch n.Work.Epoch {
	case "":
		n.Work.Epoch = f.epoch
		return errAgain
	case f.epoch:
	default:
		return arm.Errorf(500, "ScriptExecutionFailed", "The script actions were interrupted: the emulator ended while they ran.")
	}
	operation := "PostClusterCreateScriptActionRequest"
	if !n.Created {
		operation = "ClusterCreation"
	}
	for _, a := range n.Work.Scripts {
		e := f.runOne(ctx, c, a, byRole(a), operation)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.History = append([]execution{e}, n.History...)
		n.History = n.History[:min(len(n.History), maxHistory)]
		if e.Status != "Succeeded" {
			return scriptFailed(e)
		}
		if n.Work.Persist && n.persisted(a.Name) < 0 {
			n.Persisted = append(n.Persisted, a)
		}
	}
	return nil
}

func scriptFailed(e execution) *arm.Error {
	failed := 0
	for _, s := range e.ExecutionSummary {
		if s.Status == "FAILED" {
			failed += s.InstanceCount
		}
	}
	return arm.Errorf(500, "ScriptExecutionFailed", "The script action '%s' failed on %d node(s): %s", e.Name, failed, e.DebugInformation)
}

// byRole chooses the nodes of an action.
func byRole(a scriptAction) func(cluster.Node) bool {
	return func(n cluster.Node) bool {
		if n.Role == cluster.EdgeOf && a.ApplicationName != "" && !strings.EqualFold(n.Name, "ed-"+a.ApplicationName) {
			return false
		}
		return a.onRole(string(n.Role))
	}
}

// runOne runs a script and says what came of it.
func (f *Fake) runOne(ctx context.Context, c *cluster.Cluster, a scriptAction, chosen func(cluster.Node) bool, operation string) execution {
	begin := f.cfg.Clock.Now().UTC()
	e := execution{ID: begin.UnixMicro(), scriptAction: a, StartTime: begin.Format(stampFormat), Status: "Succeeded", Operation: operation, ExecutionSummary: []executionSummary{}}
	script, err := f.fetch(ctx, a.URI)
	if err != nil {
		e.Status, e.DebugInformation = "ValidationFailed", err.Error()
	} else {
		e.summarize(c.RunScript(ctx, a.Name, script, a.Parameters, chosen))
	}
	e.EndTime = f.cfg.Clock.Now().UTC().Format(stampFormat)
	return e
}

func (e *execution) summarize(all []cluster.Outcome) {
	well, badly := 0, 0
	var debug strings.Builder
	for _, o := range all {
		if o.Err == nil && o.Exit == 0 {
			well++
			continue
		}
		badly++
		fmt.Fprintf(&debug, "%s: exit status %d", o.Node, o.Exit)
		if o.Err != nil {
			fmt.Fprintf(&debug, " (%v)", o.Err)
		}
		fmt.Fprintf(&debug, ": %s\n", strings.TrimSpace(o.Output))
	}
	if well > 0 {
		e.ExecutionSummary = append(e.ExecutionSummary, executionSummary{"COMPLETED", well})
	}
	if badly > 0 {
		e.ExecutionSummary = append(e.ExecutionSummary, executionSummary{"FAILED", badly})
		e.Status = "Failed"
	}
	e.DebugInformation = strings.TrimSpace(debug.String())
}

// persisted is the index of a persisted action, -1 if there is none.
func (n *notes) persisted(name string) int {
	return slices.IndexFunc(n.Persisted, func(a scriptAction) bool { return strings.EqualFold(a.Name, name) })
}

// listScripts is GET scriptActions: those that are persisted.
func (f *Fake) listScripts(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	return 0, map[string]any{"value": append([]scriptAction{}, n.Persisted...)}, err
}

// deleteScript is DELETE scriptActions/{script}: it is no longer persisted.
func (f *Fake) deleteScript(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	if err != nil {
		return 0, nil, err
	}
	i := n.persisted(c.Vars["script"])
	if i < 0 {
		return 0, nil, notFound("The persisted script action '%s' was not found on the cluster.", c.Vars["script"])
	}
	n.Persisted = slices.Delete(n.Persisted, i, i+1)
	return 0, nil, n.store(r)
}

// listHistory is GET scriptExecutionHistory; the debug information is each one's own.
func (f *Fake) listHistory(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	all := append([]execution{}, n.History...)
	for i := range all {
		all[i].DebugInformation = ""
	}
	return 0, map[string]any{"value": all}, err
}

// getHistory is GET scriptExecutionHistory/{id}.
func (f *Fake) getHistory(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	if err != nil {
		return 0, nil, err
	}
	e, err := n.execution(c.Vars["id"])
	return 0, e, err
}

func (n *notes) execution(id string) (execution, error) {
	for _, e := range n.History {
		if strconv.FormatInt(e.ID, 10) == id {
			return e, nil
		}
	}
	return execution{}, notFound("The script execution '%s' was not found on the cluster.", id)
}

// promoteScript is POST scriptExecutionHistory/{id}/promote: a script that succeeded is persisted.
func (f *Fake) promoteScript(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	if err != nil {
		return 0, nil, err
	}
	e, err := n.execution(c.Vars["id"])
	switch {
	case err != nil:
		return 0, nil, err
	case e.Status != "Succeeded":
		return 0, nil, badRequest("The script execution '%s' can't be promoted: its status is '%s'.", c.Vars["id"], e.Status)
	case n.persisted(e.Name) >= 0:
		return 0, nil, arm.Errorf(http.StatusConflict, "Conflict", "A persisted script action with the name '%s' exists on the cluster.", e.Name)
	}
	n.Persisted = append(n.Persisted, e.scriptAction)
	return 0, nil, n.store(r)
}
