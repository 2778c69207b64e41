package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/plane"
)

// versionGroups is the api-version with which container groups are asked for.
const versionGroups = "2018-10-01"

// baseImage is what the containers of builds and services are of. What runs of
// it is told by the platform where another port of its host stands for its own.
const baseImage = "mcr.microsoft.com/azureml/o16n-base/python-slim:latest"

// port is where a service listens, tlsPort with a certificate.
const (
	port    = 80
	tlsPort = 443
)

// group is a container group of one container, as this package orders it.
type group struct {
	name     string
	location string
	tags     map[string]string
	restart  string
	command  []string
	secure   map[string]string
	plain    map[string]string
	cpu      float64
	memory   float64
	port     int    // 0: none
	label    string // DNS label; empty: none
}

// groupView is what it reads of one.
type groupView struct {
	Tags       map[string]string `json:"tags"`
	Properties struct {
		ProvisioningState string `json:"provisioningState"`
		IPAddress         struct {
			IP   string `json:"ip"`
			FQDN string `json:"fqdn"`
		} `json:"ipAddress"`
		Containers []struct {
			Properties struct {
				InstanceView *containerView `json:"instanceView"`
			} `json:"properties"`
		} `json:"containers"`
		InstanceView struct {
			State  string       `json:"state"`
			Events []groupEvent `json:"events"`
		} `json:"instanceView"`
	} `json:"properties"`
}

type containerView struct {
	RestartCount  int             `json:"restartCount"`
	CurrentState  *containerState `json:"currentState,omitempty"`
	PreviousState *containerState `json:"previousState,omitempty"`
	Events        []groupEvent    `json:"events,omitempty"`
}

type containerState struct {
	State        string `json:"state"`
	StartTime    string `json:"startTime,omitempty"`
	ExitCode     *int   `json:"exitCode,omitempty"`
	FinishTime   string `json:"finishTime,omitempty"`
	DetailStatus string `json:"detailStatus"`
}

type groupEvent struct {
	Count          int    `json:"count"`
	FirstTimestamp string `json:"firstTimestamp"`
	LastTimestamp  string `json:"lastTimestamp"`
	Name           string `json:"name"`
	Message        string `json:"message"`
	Type           string `json:"type"`
}

// container is the view of the group's container; empty before there is one.
func (g groupView) container() containerView {
	if len(g.Properties.Containers) == 0 || g.Properties.Containers[0].Properties.InstanceView == nil {
		return containerView{}
	}
	return *g.Properties.Containers[0].Properties.InstanceView
}

// state is the container's current one; empty before there is one.
func (c containerView) state() containerState {
	if c.CurrentState == nil {
		return containerState{}
	}
	return *c.CurrentState
}

// trouble is what the group's and the container's events say went wrong, newest last.
func (g groupView) trouble() string {
	var said []string
	for _, events := range [][]groupEvent{g.Properties.InstanceView.Events, g.container().Events} {
		for _, e := range events {
			if e.Type != "Normal" {
				said = append(said, e.Name+": "+e.Message)
			}
		}
	}
	return strings.Join(said, " ")
}

func groupID(ws plane.Workspace, name string) string {
	return "/subscriptions/" + ws.Subscription + "/resourceGroups/" + ws.ResourceGroup + "/providers/Microsoft.ContainerInstance/containerGroups/" + url.PathEscape(name)
}

// putGroup orders a group, or the change of one.
func (s *Service) putGroup(ctx context.Context, ws plane.Workspace, g group) error {
	variables := []any{}
	for name, value := range g.plain {
		variables = append(variables, map[string]any{"name": name, "value": value})
	}
	for name, value := range g.secure {
		variables = append(variables, map[string]any{"name": name, "secureValue": value})
	}
	container := map[string]any{"image": baseImage, "command": g.command, "environmentVariables": variables,
		"resources": map[string]any{"requests": map[string]any{"cpu": g.cpu, "memoryInGB": g.memory}}}
	properties := map[string]any{"osType": "Linux", "restartPolicy": g.restart,
		"containers": []any{map[string]any{"name": g.name, "properties": container}}}
	if g.port != 0 {
		ports := []any{map[string]any{"protocol": "TCP", "port": g.port}}
		container["ports"] = ports
		address := map[string]any{"type": "Public", "ports": ports}
		if g.label != "" {
			address["dnsNameLabel"] = g.label
		}
		properties["ipAddress"] = address
	}
	return s.cfg.ARM.Do(ctx, http.MethodPut, groupID(ws, g.name), versionGroups, map[string]any{"location": g.location, "tags": g.tags, "properties": properties}, nil)
}

// getGroup reads a group; found is false where there is none.
func (s *Service) getGroup(ctx context.Context, ws plane.Workspace, name string) (g groupView, found bool, err error) {
	err = s.cfg.ARM.Do(ctx, http.MethodGet, groupID(ws, name), versionGroups, nil, &g)
	if isNotFound(err) {
		return g, false, nil
	}
	return g, err == nil, err
}

// groupLogs is what the container printed, its last tail lines (0: all).
func (s *Service) groupLogs(ctx context.Context, ws plane.Workspace, name string, tail int) (string, error) {
	var out struct {
		Content string `json:"content"`
	}
	path := groupID(ws, name) + "/containers/" + url.PathEscape(name) + "/logs"
	if tail > 0 {
		path += "?tail=" + strconv.Itoa(tail)
	}
	err := s.cfg.ARM.Do(ctx, http.MethodGet, path, versionGroups, nil, &out)
	return out.Content, err
}

// deleteGroup removes a group, and returns when it is gone.
func (s *Service) deleteGroup(ctx context.Context, ws plane.Workspace, name string) error {
	for {
		err := s.cfg.ARM.Do(ctx, http.MethodDelete, groupID(ws, name), versionGroups, nil, nil)
		var e *execution.ARMError
		if err != nil && !isNotFound(err) && (!errors.As(err, &e) || e.Status != http.StatusConflict) {
			return err
		}
		_, found, err := s.getGroup(ctx, ws, name)
		if err != nil || !found {
			return err
		}
		t := s.cfg.Clock.NewTimer(min(s.cfg.Poll, 100*time.Millisecond))
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func isNotFound(err error) bool {
	var e *execution.ARMError
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// refused reports an answer of the resource manager that another try would not change.
func refused(err error) (*execution.ARMError, bool) {
	var e *execution.ARMError
	if !errors.As(err, &e) || e.Status < 400 || e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusConflict {
		return nil, false
	}
	return e, true
}

// diagnosis is a container's view as the service's errors quote it.
func (c containerView) diagnosis() string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return string(b)
}
