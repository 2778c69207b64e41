package execution

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

const versionBatchAI = "2018-05-01"

// batchAI orders a run as a job of Microsoft.BatchAI, in an experiment of the
// cluster's workspace that has the name of the run's.
type batchAI struct {
	arm ARM
	web http.RoundTripper // by which a job's files are fetched
}

var _ orders = (*batchAI)(nil)

// id implements orders.
func (b *batchAI) id(j Job) (string, error) {
	workspace, err := batchAIWorkspace(j.Target.cluster)
	if err != nil {
		return "", err
	}
	return workspace + "/experiments/" + j.Experiment + "/jobs/" + orderName(j, 64), nil
}

// batchAIWorkspace is the id of the workspace that a cluster is in.
func batchAIWorkspace(cluster string) (string, error) {
	i := strings.LastIndex(strings.ToLower(cluster), "/clusters/")
	if i < 0 || !strings.Contains(strings.ToLower(cluster[:i]), "/microsoft.batchai/workspaces/") {
		return "", connectError(Refused, "'%s' is not the id of a Batch AI cluster in a workspace.", cluster)
	}
	return cluster[:i], nil
}

// place implements orders.
func (b *batchAI) place(ctx context.Context, j Job, id, setupURL string) error {
	experiment := id[:strings.LastIndex(id, "/jobs/")]
	err := b.arm.Do(ctx, http.MethodGet, experiment, versionBatchAI, nil, nil)
	if armStatus(err) == http.StatusNotFound {
		err = b.arm.Do(ctx, http.MethodPut, experiment, versionBatchAI, map[string]any{}, nil)
	}
	if err != nil {
		return err
	}
	l, err := j.Config.layout()
	if err != nil {
		return err
	}
	share, err := b.share(ctx, j)
	if err != nil {
		return err
	}
	properties := map[string]any{
		"cluster":             map[string]any{"id": j.Target.cluster},
		"nodeCount":           l.nodes,
		"mountVolumes":        map[string]any{"azureFileShares": []any{share}},
		"stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/" + projectShare,
		"secrets":             []any{map[string]any{"name": setupVariable, "value": setupURL}},
	}
	if c := j.Config.image(); c != nil {
		properties["containerSettings"] = batchAIContainer(c)
	}
	for name, settings := range batchAIToolkit(l) {
		properties[name] = settings
	}
	return b.arm.Do(ctx, http.MethodPut, id, versionBatchAI, map[string]any{"properties": properties}, nil)
}

// batchAIContainer words an image for containerSettings.
func batchAIContainer(c *jobImage) map[string]any {
	registry := map[string]any{"image": c.Image}
	if c.Registry != "" {
		registry["serverUrl"] = c.Registry
	}
	if c.Username != "" {
		registry["credentials"] = map[string]any{"username": c.Username, "password": c.Password}
	}
	settings := map[string]any{"imageSourceRegistry": registry}
	if c.ShmSize != "" {
		settings["shmSize"] = c.ShmSize
	}
	return settings
}

// batchAIToolkit is the toolkit that starts the processes of a layout. Where
// there are several, each node is prepared first, once.
func batchAIToolkit(l layout) map[string]any {
	shell := func(script string) string { return "/bin/bash -c '" + script + "'" }
	out := map[string]any{}
	if l.communicator != alone {
		out["jobPreparation"] = map[string]any{"commandLine": shell(bootstrap + started("prepare"))}
	}
	switch l.communicator {
	case overMPI:
		out["customMpiSettings"] = map[string]any{"commandLine": shell(started("part")), "processCount": l.processes()}
	case overParameterServers:
		arguments := func(role string) string { return "part " + role + " $AZ_BATCHAI_TASK_INDEX" }
		out["tensorFlowSettings"] = map[string]any{
			// The interpreter of the control scripts is theirs to find.
			"pythonInterpreterPath":          "/bin/bash",
			"pythonScriptFilePath":           "$AZ_BATCHAI_JOB_TEMP/azureml/azureml-setup/Invocation.sh",
			"masterCommandLineArgs":          arguments("worker"),
			"workerCommandLineArgs":          arguments("worker"),
			"parameterServerCommandLineArgs": arguments("ps"),
			"workerCount":                    l.workers,
			"parameterServerCount":           l.servers,
		}
	default:
		out["customToolkitSettings"] = map[string]any{"commandLine": shell(bootstrap + started(""))}
	}
	return out
}

// batchAIJob is what is read of a job.
type batchAIJob struct {
	Properties struct {
		ProvisioningState string `json:"provisioningState"`
		ExecutionState    string `json:"executionState"`
		ExecutionInfo     *struct {
			ExitCode *int           `json:"exitCode"`
			Errors   []batchAIError `json:"errors"`
		} `json:"executionInfo"`
	} `json:"properties"`
}

type batchAIError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"details"`
}

// look implements orders.
func (b *batchAI) look(ctx context.Context, id string) (Status, error) {
	var job batchAIJob
	if err := b.arm.Do(ctx, http.MethodGet, id, versionBatchAI, nil, &job); err != nil {
		return Status{}, err
	}
	st := Status{Inferred: true}
	switch p := job.Properties; {
	case strings.EqualFold(p.ExecutionState, "succeeded"):
		st.Phase, st.Result = "ended", "Completed"
	case strings.EqualFold(p.ExecutionState, "failed"), strings.EqualFold(p.ProvisioningState, "failed"):
		st.Phase, st.Result, st.Error = "ended", "Failed", job.failure()
	case strings.EqualFold(p.ExecutionState, "running"), strings.EqualFold(p.ExecutionState, "terminating"):
		// Whether the script runs yet, the control script tells.
		st.Phase = "preparing"
	default:
		st.Phase = "queued"
		if info := p.ExecutionInfo; info != nil && len(info.Errors) > 0 {
			st.Said = info.Errors[0].Message
		}
	}
	return st, nil
}

// failure is the job's own reason.
func (job batchAIJob) failure() *StatusError {
	info := job.Properties.ExecutionInfo
	if info == nil {
		return &StatusError{Code: "ServiceError", Message: "The Batch AI job failed without a reason."}
	}
	var said []string
	code := "UserError"
	for _, e := range info.Errors {
		text := e.Code
		if strings.EqualFold(e.Code, "NodeLost") {
			code = "ServiceError" // nobody's script did that
		}
		if e.Message != "" {
			text += ": " + e.Message
		}
		for _, d := range e.Details {
			text += fmt.Sprintf(" (%s: %s)", d.Name, strings.TrimSpace(d.Value))
		}
		said = append(said, text)
	}
	if len(said) == 0 && info.ExitCode != nil {
		said = append(said, fmt.Sprintf("it ended with exit code %d.", *info.ExitCode))
	}
	return &StatusError{Code: code, Message: "The Batch AI job failed: " + strings.Join(said, " ")}
}

// end implements orders.
func (b *batchAI) end(ctx context.Context, id string) error {
	err := b.arm.Do(ctx, http.MethodPost, id+"/terminate", versionBatchAI, nil, nil)
	if status := armStatus(err); status == http.StatusConflict || status == http.StatusBadRequest {
		// It may have ended by itself meanwhile.
		if st, lerr := b.look(ctx, id); lerr == nil && st.Phase == "ended" {
			return nil
		}
	}
	return err
}

// clear implements orders: a job stays in its experiment, as in any cluster's history.
func (b *batchAI) clear(context.Context, string) error { return nil }
