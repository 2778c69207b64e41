package aci

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// The wire form of Microsoft.ContainerInstance 2018-10-01 (with initContainers
// of 2019-12-01), in the order in which the service writes it. Numbers stay as
// the client wrote them.

type groupProperties struct {
	ProvisioningState        string               `json:"provisioningState,omitempty"`
	SKU                      string               `json:"sku,omitempty"`
	Containers               []*containerItem     `json:"containers"`
	InitContainers           []*containerItem     `json:"initContainers,omitempty"`
	ImageRegistryCredentials []registryCredential `json:"imageRegistryCredentials,omitempty"`
	RestartPolicy            string               `json:"restartPolicy,omitempty"`
	IPAddress                *ipAddress           `json:"ipAddress,omitempty"`
	OSType                   string               `json:"osType"`
	Volumes                  []volume             `json:"volumes,omitempty"`
	Diagnostics              *diagnostics         `json:"diagnostics,omitempty"`
	NetworkProfile           *reference           `json:"networkProfile,omitempty"`
	SubnetIDs                []reference          `json:"subnetIds,omitempty"`
	DNSConfig                json.RawMessage      `json:"dnsConfig,omitempty"`
	InstanceView             *groupView           `json:"instanceView,omitempty"`
}

type containerItem struct {
	Name       string              `json:"name"`
	Properties containerProperties `json:"properties"`
}

type containerProperties struct {
	Image           string         `json:"image"`
	Command         []string       `json:"command,omitempty"`
	Ports           []port         `json:"ports"`
	Environment     []variable     `json:"environmentVariables"`
	InstanceView    *containerView `json:"instanceView,omitempty"`
	Resources       *resources     `json:"resources,omitempty"`
	VolumeMounts    []volumeMount  `json:"volumeMounts,omitempty"`
	LivenessProbe   *probe         `json:"livenessProbe,omitempty"`
	ReadinessProbe  *probe         `json:"readinessProbe,omitempty"`
	SecurityContext any            `json:"securityContext,omitempty"`
}

type port struct {
	Protocol string `json:"protocol,omitempty"`
	Port     int    `json:"port"`
}

type variable struct {
	Name        string  `json:"name"`
	Value       *string `json:"value,omitempty"`
	SecureValue *string `json:"secureValue,omitempty"`
}

type resources struct {
	Requests amounts  `json:"requests"`
	Limits   *amounts `json:"limits,omitempty"`
}

type amounts struct {
	MemoryInGB json.Number     `json:"memoryInGB,omitempty"`
	CPU        json.Number     `json:"cpu,omitempty"`
	GPU        json.RawMessage `json:"gpu,omitempty"`
}

// double is a number as the service writes its doubles: 1 is 1.0.
func double(n json.Number) json.Number {
	if n == "" || strings.ContainsAny(string(n), ".eE") {
		return n
	}
	return n + ".0"
}

func number(n json.Number) float64 {
	f, _ := n.Float64()
	return f
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  *bool  `json:"readOnly,omitempty"`
}

type volume struct {
	Name      string            `json:"name"`
	AzureFile *azureFile        `json:"azureFile,omitempty"`
	EmptyDir  map[string]any    `json:"emptyDir,omitempty"`
	Secret    map[string]string `json:"secret,omitempty"`
	GitRepo   *gitRepo          `json:"gitRepo,omitempty"`
}

// MarshalJSON writes an empty secret or emptyDir as {}, which omitempty would leave out.
func (v volume) MarshalJSON() ([]byte, error) {
	out := struct {
		Name      string             `json:"name"`
		AzureFile *azureFile         `json:"azureFile,omitempty"`
		EmptyDir  *map[string]any    `json:"emptyDir,omitempty"`
		Secret    *map[string]string `json:"secret,omitempty"`
		GitRepo   *gitRepo           `json:"gitRepo,omitempty"`
	}{Name: v.Name, AzureFile: v.AzureFile, GitRepo: v.GitRepo}
	if v.EmptyDir != nil {
		out.EmptyDir = &v.EmptyDir
	}
	if v.Secret != nil {
		out.Secret = &v.Secret
	}
	return json.Marshal(out)
}

type azureFile struct {
	ShareName          string `json:"shareName"`
	ReadOnly           *bool  `json:"readOnly,omitempty"`
	StorageAccountName string `json:"storageAccountName"`
	StorageAccountKey  string `json:"storageAccountKey,omitempty"`
}

type gitRepo struct {
	Repository string `json:"repository"`
	Directory  string `json:"directory,omitempty"`
	Revision   string `json:"revision,omitempty"`
}

type registryCredential struct {
	Server   string `json:"server"`
	Username string `json:"username"`
	Password string `json:"password,omitempty"`
	Identity string `json:"identity,omitempty"`
}

type ipAddress struct {
	Ports        []port `json:"ports"`
	IP           string `json:"ip,omitempty"`
	Type         string `json:"type"`
	DNSNameLabel string `json:"dnsNameLabel,omitempty"`
	FQDN         string `json:"fqdn,omitempty"`
}

type diagnostics struct {
	LogAnalytics *logAnalytics `json:"logAnalytics,omitempty"`
}

type logAnalytics struct {
	WorkspaceID  string          `json:"workspaceId"`
	WorkspaceKey string          `json:"workspaceKey,omitempty"`
	LogType      string          `json:"logType,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
}

type reference struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

type probe struct {
	Exec *struct {
		Command []string `json:"command"`
	} `json:"exec,omitempty"`
	HTTPGet *struct {
		Path   string `json:"path,omitempty"`
		Port   int    `json:"port"`
		Scheme string `json:"scheme,omitempty"`
	} `json:"httpGet,omitempty"`
	InitialDelaySeconds int `json:"initialDelaySeconds,omitempty"`
	PeriodSeconds       int `json:"periodSeconds,omitempty"`
	FailureThreshold    int `json:"failureThreshold,omitempty"`
	SuccessThreshold    int `json:"successThreshold,omitempty"`
	TimeoutSeconds      int `json:"timeoutSeconds,omitempty"`
}

type groupView struct {
	Events *[]*event `json:"events,omitempty"`
	State  string    `json:"state"`
}

type containerView struct {
	RestartCount  int             `json:"restartCount"`
	CurrentState  *containerState `json:"currentState,omitempty"`
	PreviousState *containerState `json:"previousState,omitempty"`
	Events        []*event        `json:"events"`
}

// containerState is what a container is in; times have whole seconds on the wire.
type containerState struct {
	State        string     `json:"state"`
	StartTime    *time.Time `json:"startTime,omitempty"`
	ExitCode     *int       `json:"exitCode,omitempty"`
	FinishTime   *time.Time `json:"finishTime,omitempty"`
	DetailStatus string     `json:"detailStatus"`
}

// seconds is an instant as the service shows it.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// every visits all containers, init containers first.
func (g *groupProperties) every(visit func(c *containerItem, initial bool)) {
	for _, c := range g.InitContainers {
		visit(c, true)
	}
	for _, c := range g.Containers {
		visit(c, false)
	}
}

// clone is a copy that shares nothing.
func (g *groupProperties) clone() *groupProperties {
	b, err := json.Marshal(g)
	if err != nil {
		return &groupProperties{}
	}
	var out groupProperties
	if err := json.Unmarshal(b, &out); err != nil {
		return &groupProperties{}
	}
	return &out
}

// equal says whether two are the same, secrets included.
func (g *groupProperties) equal(other *groupProperties) bool {
	a, err := json.Marshal(g)
	b, berr := json.Marshal(other)
	return err == nil && berr == nil && bytes.Equal(a, b)
}

// public is what the wire shows of a group: everything but its secrets.
func (g *groupProperties) public() *groupProperties {
	out := g.clone()
	out.every(func(c *containerItem, _ bool) {
		for i := range c.Properties.Environment {
			c.Properties.Environment[i].SecureValue = nil
		}
	})
	for i := range out.ImageRegistryCredentials {
		out.ImageRegistryCredentials[i].Password = ""
	}
	for i, v := range out.Volumes {
		if v.Secret != nil {
			out.Volumes[i].Secret = map[string]string{}
		}
		if v.AzureFile != nil {
			v.AzureFile.StorageAccountKey = ""
		}
	}
	if d := out.Diagnostics; d != nil && d.LogAnalytics != nil {
		d.LogAnalytics.WorkspaceKey = ""
	}
	return out
}
