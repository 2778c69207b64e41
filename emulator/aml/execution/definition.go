package execution

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
)

// definition is definition.json as the SDK sends it: what to run, how and where.
type definition struct {
	TargetDetails *targetDetails
	Configuration *configuration
	SnapshotID    string `json:"SnapshotId"`
	ParentRunID   string `json:"ParentRunId"`

	// raw is Configuration as it came, but for a registry's password; history keeps it as the run's definition.
	raw json.RawMessage
}

// targetDetails is a legacy .compute file.
type targetDetails struct {
	Type       string
	Address    string
	Username   string
	Password   string
	PrivateKey string
	// Of type batchai.
	SubscriptionID string `json:"subscriptionId"`
	ResourceGroup  string `json:"resourceGroup"`
	ClusterName    string `json:"clusterName"`
	WorkspaceName  string `json:"workspaceName"`
}

type configuration struct {
	Script                 string                   `json:"script"`
	Arguments              []word                   `json:"arguments"`
	Target                 string                   `json:"target"`
	Framework              string                   `json:"framework"`
	AutoPrepareEnvironment *bool                    `json:"autoPrepareEnvironment"`
	MaxRunDurationSeconds  *int64                   `json:"maxRunDurationSeconds"`
	Environment            environment              `json:"environment"`
	History                historyPolicy            `json:"history"`
	DataReferences         map[string]dataReference `json:"dataReferences"`

	// How a run is spread, and where a container of its own is.
	BatchAI struct {
		NodeCount *int `json:"nodeCount"`
	} `json:"batchai"`
	MPI struct {
		ProcessCountPerNode *int `json:"processCountPerNode"`
	} `json:"mpi"`
	TensorFlow struct {
		WorkerCount          *int `json:"workerCount"`
		ParameterServerCount *int `json:"parameterServerCount"`
	} `json:"tensorflow"`
	ContainerInstance containerInstanceSection `json:"containerInstance"`
	Spark             struct {
		Configuration map[string]word `json:"configuration"`
	} `json:"spark"`
	HDI struct {
		YARNDeployMode string `json:"yarnDeployMode"`
	} `json:"hdi"`

	// What SDK 1.x has besides: a command in the place of a script, variables of
	// the run beside those of its environment, and what is refused here.
	Command              string                     `json:"command"`
	EnvironmentVariables map[string]word            `json:"environmentVariables"`
	Docker               *dockerRuntime             `json:"docker"`
	Communicator         string                     `json:"communicator"`
	NodeCount            *int                       `json:"nodeCount"`
	Data                 map[string]json.RawMessage `json:"data"`
	OutputData           map[string]json.RawMessage `json:"outputData"`
	DataCaches           []json.RawMessage          `json:"datacaches"`
}

type environment struct {
	EnvironmentVariables map[string]word `json:"environmentVariables"`
	Python               struct {
		UserManagedDependencies bool            `json:"userManagedDependencies"`
		InterpreterPath         string          `json:"interpreterPath"`
		CondaDependencies       json.RawMessage `json:"condaDependencies"`
	} `json:"python"`
	Docker dockerSection    `json:"docker"`
	Spark  sparkEnvironment `json:"spark"`
}

type historyPolicy struct {
	OutputCollection *bool `json:"outputCollection"`
}

type dataReference struct {
	DataStoreName   string `json:"dataStoreName"`
	PathOnDataStore string `json:"pathOnDataStore"`
	Mode            string `json:"mode"`
	Overwrite       bool   `json:"overwrite"`
	PathOnCompute   string `json:"pathOnCompute"`
}

// word is a string, or a number or truth value that stands for its text as Python prints it.
type word string

// UnmarshalJSON implements json.Unmarshaler.
func (w *word) UnmarshalJSON(b []byte) error {
	switch {
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(w))
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		*w = word(b)
	case string(b) == "true":
		*w = "True"
	case string(b) == "false":
		*w = "False"
	default:
		kind := map[byte]string{'{': "object", '[': "array", 'n': "null"}[b[0]]
		return &json.UnmarshalTypeError{Value: kind, Type: reflect.TypeFor[string]()}
	}
	return nil
}

var (
	experimentName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`)
	runIDPattern   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}$`) })
	referenceName  = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)
)

// parseDefinition decodes and checks; its errors name the field.
func parseDefinition(b []byte, prepareOnly bool) (*definition, error) {
	var raw struct{ Configuration json.RawMessage }
	d := &definition{}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, badJSON(err)
	}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, badJSON(err)
	}
	if d.Configuration == nil {
		return nil, plane.BadRequest("Configuration", "The definition has no 'Configuration'.")
	}
	var err error
	if d.raw, err = withoutPassword(d.Configuration, raw.Configuration); err != nil {
		return nil, err
	}
	return d, d.check(prepareOnly)
}

func badJSON(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return plane.BadRequest(wrong.Field, "The value of '%s' is a JSON %s, which does not fit.", wrong.Field, wrong.Value)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return plane.BadRequest("definition.json", "The definition is not valid JSON: %s.", err)
	}
	return plane.BadRequest("definition.json", "The definition cannot be read: %s.", err)
}

// check refuses what does not fit, and puts what may be said in two ways into one of them.
func (d *definition) check(prepareOnly bool) error {
	c := d.Configuration
	if d.TargetDetails != nil && d.TargetDetails.inDocker() {
		c.Environment.Docker.Enabled = true
	}
	if c.Target == "" {
		return plane.BadRequest("Configuration.target", "'Configuration.target' must name a compute target.")
	}
	switch {
	case c.Script == "" && c.Command == "" && !prepareOnly:
		return plane.BadRequest("Configuration.script", "'Configuration.script' must name a file of the project.")
	case c.Script != "" && c.Command != "":
		return plane.BadRequest("Configuration.command", "'Configuration.script' and 'Configuration.command' exclude each other.")
	case c.Command != "" && len(c.Arguments) > 0:
		return plane.BadRequest("Configuration.arguments", "'Configuration.command' holds its own arguments: 'Configuration.arguments' must be empty.")
	}
	if err := c.checkSupported(); err != nil {
		return err
	}
	c.Script = strings.ReplaceAll(c.Script, `\`, "/")
	if path.IsAbs(c.Script) || strings.HasPrefix(path.Clean(c.Script), "..") {
		return plane.BadRequest("Configuration.script", "The script '%s' is not inside the project.", c.Script)
	}
	if c.Script != "" {
		c.Script = path.Clean(c.Script)
	}
	if _, err := c.layout(); err != nil {
		return err
	}
	if c.MaxRunDurationSeconds != nil && *c.MaxRunDurationSeconds <= 0 {
		return plane.BadRequest("Configuration.maxRunDurationSeconds", "'Configuration.maxRunDurationSeconds' must be positive.")
	}
	for name, value := range c.EnvironmentVariables {
		if c.Environment.EnvironmentVariables == nil {
			c.Environment.EnvironmentVariables = map[string]word{}
		}
		// The run's win over the environment's.
		c.Environment.EnvironmentVariables[name] = value
	}
	for name := range c.Environment.EnvironmentVariables {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return plane.BadRequest("Configuration.environment.environmentVariables", "'%s' is no name of an environment variable.", name)
		}
	}
	if err := errors.Join(c.checkDocker(), c.checkSpark()); err != nil {
		return err
	}
	if err := checkConda(c.Environment.Python.CondaDependencies, c.Environment.Python.UserManagedDependencies); err != nil {
		return err
	}
	for name, ref := range c.DataReferences {
		field := "Configuration.dataReferences." + name
		if !referenceName.MatchString(name) {
			return plane.BadRequest(field, "'%s' is no name of a data reference: letters, digits and '_' only.", name)
		}
		if ref.DataStoreName == "" {
			return plane.BadRequest(field+".dataStoreName", "The data reference '%s' names no datastore.", name)
		}
		switch strings.ToLower(ref.Mode) {
		case "mount", "download", "upload":
		default:
			return plane.BadRequest(field+".mode", "The mode '%s' of data reference '%s' is none of mount, download, upload.", ref.Mode, name)
		}
		if strings.EqualFold(ref.Mode, "upload") && ref.PathOnCompute == "" {
			return plane.BadRequest(field+".pathOnCompute", "The data reference '%s' uploads, and must say what: 'pathOnCompute'.", name)
		}
	}
	return nil
}

// checkSupported refuses what SDK 1.x can ask for and nothing here can do:
// without it a run would go on without its data.
func (c *configuration) checkSupported() error {
	refuse := func(field, what string) error {
		return plane.BadRequest("Configuration."+field, "%s are not emulated here: 'Configuration.%s' must be left out.", what, field)
	}
	switch {
	case len(c.Data) > 0:
		return refuse("data", "Datasets")
	case len(c.OutputData) > 0:
		return refuse("outputData", "Output datasets")
	case len(c.DataCaches) > 0:
		return refuse("datacaches", "Data caches")
	}
	return nil
}

// checkConda checks the shape of the conda dependencies: a list of strings and of {"pip": [strings]}.
func checkConda(raw json.RawMessage, userManaged bool) error {
	const field = "Configuration.environment.python.condaDependencies"
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		if userManaged {
			return nil
		}
		return plane.BadRequest(field, "'%s' is needed where userManagedDependencies is false.", field)
	}
	var conda struct {
		Dependencies []json.RawMessage `json:"dependencies"`
		Channels     []string          `json:"channels"`
	}
	if err := json.Unmarshal(raw, &conda); err != nil {
		return plane.BadRequest(field, "'%s' does not fit: %s.", field, err)
	}
	for i, dep := range conda.Dependencies {
		at := fmt.Sprintf("%s.dependencies[%d]", field, i)
		var text string
		if json.Unmarshal(dep, &text) == nil && text != "" {
			continue
		}
		var pip struct {
			Pip []string `json:"pip"`
		}
		if err := json.Unmarshal(dep, &pip); err != nil || dep[0] != '{' {
			return plane.BadRequest(at, "'%s' is neither a package nor {\"pip\": [...]}.", at)
		}
	}
	return nil
}

func (c *configuration) references() []string {
	var names []string
	for name := range c.DataReferences {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
