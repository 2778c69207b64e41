package execution

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

const versionContainerInstance = "2018-10-01"

// containerInstance is the target whose runs are container groups of their own.
const containerInstance = "containerinstance"

// runContainer is the name of the one container in a run's group.
const runContainer = "run"

// containerGroups orders a run as a group of Microsoft.ContainerInstance in
// the workspace's resource group: one container, removed after the run.
type containerGroups struct{ arm ARM }

var _ orders = (*containerGroups)(nil)

// containerInstanceSection is containerInstance of a run configuration.
type containerInstanceSection struct {
	Region   string   `json:"region"`
	CPUCores *float64 `json:"cpuCores"`
	MemoryGB *float64 `json:"memoryGb"`
}

// checkContainerInstance refuses what Azure Container Instances don't do for runs.
func (c *configuration) checkContainerInstance() error {
	l, err := c.layout()
	if err != nil {
		return err
	}
	const docker = "Configuration.environment.docker."
	switch section := c.ContainerInstance; {
	case l.communicator != alone || l.nodes > 1:
		return plane.BadRequest("Configuration.framework", "The target '%s' (Azure Container Instances) does not support distributed training: a run there has one node and one process.", containerInstance)
	case c.Environment.Docker.GPUSupport:
		return plane.BadRequest(docker+"gpuSupport", "The target '%s' (Azure Container Instances) does not support GPUs: '%sgpuSupport' must be false.", containerInstance, docker)
	case !c.inDocker():
		return plane.BadRequest(docker+"enabled", "A run on the target '%s' (Azure Container Instances) is a container: '%senabled' must be true.", containerInstance, docker)
	case section.CPUCores != nil && *section.CPUCores <= 0:
		return plane.BadRequest("Configuration.containerInstance.cpuCores", "'Configuration.containerInstance.cpuCores' must be positive.")
	case section.MemoryGB != nil && *section.MemoryGB <= 0:
		return plane.BadRequest("Configuration.containerInstance.memoryGb", "'Configuration.containerInstance.memoryGb' must be positive.")
	}
	return nil
}

// id implements orders.
func (g *containerGroups) id(j Job) (string, error) {
	return "/subscriptions/" + j.Workspace.Subscription + "/resourceGroups/" + j.Workspace.ResourceGroup +
		"/providers/Microsoft.ContainerInstance/containerGroups/" + orderName(j, 63), nil
}

// place implements orders.
func (g *containerGroups) place(ctx context.Context, j Job, id, setupURL string) error {
	section := j.Config.ContainerInstance
	region, cores, memory := section.Region, 1.0, 1.5
	if region == "" {
		region = j.Workspace.Location
	}
	if section.CPUCores != nil {
		cores = *section.CPUCores
	}
	if section.MemoryGB != nil {
		memory = *section.MemoryGB
	}
	image := j.Config.image()
	properties := map[string]any{
		"osType":        "Linux",
		"restartPolicy": "Never",
		"containers": []any{map[string]any{"name": runContainer, "properties": map[string]any{
			"image":                image.Image,
			"command":              []string{"/bin/bash", "-c", bootstrap + started("")},
			"resources":            map[string]any{"requests": map[string]any{"cpu": cores, "memoryInGB": memory}},
			"environmentVariables": []any{map[string]any{"name": setupVariable, "secureValue": setupURL}},
		}}},
	}
	if image.Username != "" {
		properties["imageRegistryCredentials"] = []any{map[string]any{"server": image.Registry, "username": image.Username, "password": image.Password}}
	}
	return g.arm.Do(ctx, http.MethodPut, id, versionContainerInstance, map[string]any{
		"location": region, "tags": map[string]any{"azureml-run": j.RunID}, "properties": properties}, nil)
}

// containerGroup is what is read of a group.
type containerGroup struct {
	Properties struct {
		ProvisioningState string `json:"provisioningState"`
		InstanceView      struct {
			State  string           `json:"state"`
			Events []containerEvent `json:"events"`
		} `json:"instanceView"`
		Containers []struct {
			Properties struct {
				InstanceView struct {
					CurrentState struct {
						State        string `json:"state"`
						ExitCode     *int   `json:"exitCode"`
						DetailStatus string `json:"detailStatus"`
					} `json:"currentState"`
					Events []containerEvent `json:"events"`
				} `json:"instanceView"`
			} `json:"properties"`
		} `json:"containers"`
	} `json:"properties"`
}

type containerEvent struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

// look implements orders.
func (g *containerGroups) look(ctx context.Context, id string) (Status, error) {
	var group containerGroup
	if err := g.arm.Do(ctx, http.MethodGet, id, versionContainerInstance, nil, &group); err != nil {
		return Status{}, err
	}
	p := group.Properties
	st := Status{Phase: "queued", Inferred: true}
	failed := func(why string) (Status, error) {
		for _, e := range group.warnings() {
			why += " " + e.Name + ": " + e.Message
		}
		return Status{Phase: "ended", Result: "Failed", Inferred: true, Error: &StatusError{Code: "UserError", Message: "The container " + why}}, nil
	}
	if len(p.Containers) > 0 {
		switch state := p.Containers[0].Properties.InstanceView.CurrentState; {
		case strings.EqualFold(state.State, "Terminated"):
			if state.ExitCode != nil && *state.ExitCode == 0 {
				return Status{Phase: "ended", Result: "Completed", LogsSent: true, Inferred: true}, nil
			}
			code := "without an exit code"
			if state.ExitCode != nil {
				code = fmt.Sprintf("with exit code %d", *state.ExitCode)
			}
			return failed(fmt.Sprintf("of the run ended %s (%s).", code, state.DetailStatus))
		case strings.EqualFold(state.State, "Running"):
			st.Phase = "preparing"
		}
	}
	if strings.EqualFold(p.ProvisioningState, "Failed") || strings.EqualFold(p.InstanceView.State, "Failed") {
		return failed("of the run could not be started.")
	}
	return st, nil
}

// warnings are the events that tell of something wrong.
func (group containerGroup) warnings() (out []containerEvent) {
	all := group.Properties.InstanceView.Events
	for _, c := range group.Properties.Containers {
		all = append(all, c.Properties.InstanceView.Events...)
	}
	for _, e := range all {
		if strings.EqualFold(e.Type, "Warning") {
			out = append(out, e)
		}
	}
	return out
}

// end implements orders: what is gone does not run.
func (g *containerGroups) end(ctx context.Context, id string) error { return g.clear(ctx, id) }

// output implements orders.
func (g *containerGroups) output(ctx context.Context, id string, put func(string, io.Reader) error) error {
	var log struct {
		Content string `json:"content"`
	}
	if err := g.arm.Do(ctx, http.MethodGet, id+"/containers/"+runContainer+"/logs", versionContainerInstance, nil, &log); err != nil {
		return err
	}
	if log.Content == "" {
		return nil
	}
	return put("azureml-logs/55_containerinstance_log.txt", strings.NewReader(log.Content))
}

// clear implements orders.
func (g *containerGroups) clear(ctx context.Context, id string) error {
	return g.arm.Do(ctx, http.MethodDelete, id, versionContainerInstance, nil, nil)
}
