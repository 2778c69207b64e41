package execution

import (
	"archive/zip"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/plane"
)

// control holds the scripts that run beside the user's, on the target.
//
//go:embed control/*.py control/*.txt control/Invocation.sh control/Invocation.bat
var control embed.FS

// EnvironmentScripts are the control scripts that make a Python environment of
// conda dependencies, for what else has to make one: each a file of that name.
func EnvironmentScripts() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range []string{"environment.py", "console.py", "interpreters.py", "packages.py", "spark.py", "job.py",
		"constraints-2018.txt", "constraints-azureml.txt", "constraints-azureml-0.1.68.txt"} {
		b, err := control.ReadFile("control/" + name)
		if err != nil {
			return nil, fmt.Errorf("execution: %w", err)
		}
		out[name] = b
	}
	return out, nil
}

// job is all that the control scripts of one run get to know, but for secrets: job.json.
type job struct {
	RunID                string            `json:"runId"`
	Experiment           string            `json:"experiment"`
	WorkspaceID          string            `json:"workspaceId"`
	Endpoint             string            `json:"endpoint"`
	Proxy                string            `json:"proxy"`
	Script               string            `json:"script"`
	Command              string            `json:"command"`
	Arguments            []word            `json:"arguments"`
	PrepareOnly          bool              `json:"prepareOnly"`
	AutoPrepare          bool              `json:"autoPrepare"`
	MaxRunSeconds        *int64            `json:"maxRunSeconds"`
	EnvironmentVariables map[string]word   `json:"environmentVariables"`
	AzureML              map[string]string `json:"azureml"`
	Python               jobPython         `json:"python"`
	Docker               *jobDocker        `json:"docker"`
	Spark                *jobSpark         `json:"spark"`
	TrackOutputs         bool              `json:"trackOutputs"`
	DataReferences       []jobReference    `json:"dataReferences"`
	GiveUpSeconds        int               `json:"giveUpSeconds"`
	// Ordered runs fetch their project themselves, and end with their script's exit code.
	Ordered bool `json:"ordered"`
	// Parts is how many processes of the script there are; 0: it is not divided.
	Parts int `json:"parts"`
}

type jobPython struct {
	UserManaged       bool            `json:"userManaged"`
	InterpreterPath   string          `json:"interpreterPath"`
	CondaDependencies json.RawMessage `json:"condaDependencies"`
}

type jobReference struct {
	Name          string `json:"name"`
	Mode          string `json:"mode"`
	Datastore     string `json:"datastore"`
	Path          string `json:"path"`
	PathOnCompute string `json:"pathOnCompute"`
	Overwrite     bool   `json:"overwrite"`
}

// credentials are the job's secrets, in a file of their own that its owner alone can read.
type credentials struct {
	Token       string            `json:"token"`
	TokenExpiry string            `json:"tokenExpiry,omitempty"`
	Containers  map[string]string `json:"containers"` // data reference -> container URL with its SAS
	Registry    *registryLogin    `json:"registry,omitempty"`
	// Project is where an ordered run fetches its project, Failure where it may leave its reason.
	Project string `json:"project,omitempty"`
	Failure string `json:"failure,omitempty"`
}

// invocation is a job made ready: its files below azureml-setup/.
type invocation struct {
	job         job
	credentials credentials
	bundle      []byte
}

// accessTime is how long the containers of data references stay open to a run: as long as the longest may take.
const accessTime = 30 * 24 * time.Hour

// newInvocation gathers what a run needs; endpoint is the history URL as the run must use it.
func (s *Service) newInvocation(ctx context.Context, ws plane.Workspace, experiment, runID, endpoint string, d *definition, t target, prepareOnly bool) (*invocation, error) {
	c := d.Configuration
	inv := &invocation{job: job{
		RunID: runID, Experiment: experiment, WorkspaceID: ws.ID(), Endpoint: strings.TrimRight(endpoint, "/"),
		Proxy: s.cfg.ProxyURL(), Script: c.Script, Command: c.Command, Arguments: append([]word{}, c.Arguments...), PrepareOnly: prepareOnly,
		AutoPrepare:          c.AutoPrepareEnvironment == nil || *c.AutoPrepareEnvironment || prepareOnly,
		MaxRunSeconds:        c.MaxRunDurationSeconds,
		EnvironmentVariables: map[string]word{},
		Python: jobPython{
			UserManaged:       c.Environment.Python.UserManagedDependencies,
			InterpreterPath:   c.Environment.Python.InterpreterPath,
			CondaDependencies: c.Environment.Python.CondaDependencies,
		},
		Docker:         s.jobDocker(c),
		Spark:          s.jobSpark(c, t.hdinsight),
		TrackOutputs:   c.History.OutputCollection == nil || *c.History.OutputCollection,
		DataReferences: []jobReference{},
		GiveUpSeconds:  int(s.cfg.GiveUp.Seconds()),
	}}
	if t.ordered() {
		// It is in its container already, and there is what leads to the emulator.
		inv.job.Ordered, inv.job.Docker, inv.job.Proxy = true, nil, ""
		l, err := c.layout()
		if err != nil {
			return nil, err
		}
		if l.communicator != alone {
			inv.job.Parts = l.processes()
		}
	}
	for name, value := range c.Environment.EnvironmentVariables {
		inv.job.EnvironmentVariables[name] = value
	}
	if r := c.Environment.Docker.BaseImageRegistry; inv.job.Docker != nil && r.Username != "" {
		inv.credentials.Registry = &registryLogin{r.Username, r.Password}
	}
	inv.credentials.Containers = map[string]string{}
	for _, name := range c.references() {
		ref := c.DataReferences[name]
		store, err := s.cfg.Assets.Datastore(ctx, ws, ref.DataStoreName, s.cfg.Clock.Now().Add(accessTime))
		if err != nil {
			return nil, err
		}
		if store.ContainerURL == "" {
			return nil, plane.BadRequest("Configuration.dataReferences."+name,
				"The datastore '%s' of type %s cannot be reached from a run.", store.Name, store.Type)
		}
		inv.credentials.Containers[name] = store.ContainerURL
		inv.job.DataReferences = append(inv.job.DataReferences, jobReference{
			Name: name, Mode: strings.ToLower(ref.Mode), Datastore: ref.DataStoreName,
			Path: ref.PathOnDataStore, PathOnCompute: ref.PathOnCompute, Overwrite: ref.Overwrite,
		})
	}
	if s.cfg.BundleFile != "" {
		b, err := os.ReadFile(s.cfg.BundleFile)
		if err != nil {
			return nil, fmt.Errorf("execution: CA bundle: %w", err)
		}
		inv.bundle = b
	}
	return inv, nil
}

// identify adds what exists only once the run is in history: its token and its variables.
func (s *Service) identify(ctx context.Context, ws plane.Workspace, inv *invocation) error {
	run, err := s.cfg.Runs.Get(ctx, ws, inv.job.RunID)
	if err != nil {
		return err
	}
	token, err := s.cfg.Runs.Token(ctx, ws, inv.job.RunID)
	if err != nil {
		return err
	}
	inv.credentials.Token = token.Token
	if !token.Expires.IsZero() {
		inv.credentials.TokenExpiry = token.Expires.UTC().Format(time.RFC3339)
	}
	framework := "Python"
	if inv.job.Spark != nil {
		framework = "PySpark"
	}
	inv.job.AzureML = map[string]string{
		"AZUREML_ARM_SUBSCRIPTION":             ws.Subscription,
		"AZUREML_ARM_RESOURCEGROUP":            ws.ResourceGroup,
		"AZUREML_ARM_WORKSPACE_NAME":           ws.Workspace,
		"AZUREML_ARM_PROJECT_NAME":             inv.job.Experiment,
		"AZUREML_RUN_ID":                       inv.job.RunID,
		"AZUREML_SERVICE_ENDPOINT":             inv.job.Endpoint,
		"AZUREML_DISCOVERY_SERVICE_ENDPOINT":   inv.job.Endpoint + "/discovery",
		"AZUREML_EXPERIMENT_ID":                run.ExperimentID,
		"AZUREML_WORKSPACE_ID":                 ws.GUID,
		"AZUREML_WORKSPACE_SCOPE":              ws.ID(),
		"AZUREML_EXPERIMENT_SCOPE":             ws.ID() + "/experiments/" + inv.job.Experiment,
		"AZUREML_FRAMEWORK":                    framework,
		"AZUREML_SCRIPT_DIRECTORY_NAME":        ".",
		"AZUREML_LOGDIRECTORY_PATH":            "azureml-logs",
		"AZUREML_RUN_HISTORY_SERVICE_ENDPOINT": inv.job.Endpoint,
	}
	return nil
}

// write packs all files of azureml-setup/ into a zip. Go's and Python's
// unpackers both take the modes; those that do not are put right by Invocation.sh.
func (inv *invocation) write(w io.Writer) error {
	z := zip.NewWriter(w)
	files, err := inv.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		h := &zip.FileHeader{Name: "azureml-setup/" + f.name, Method: zip.Deflate}
		h.SetMode(f.mode)
		out, err := z.CreateHeader(h)
		if err != nil {
			return fmt.Errorf("execution: %w", err)
		}
		if _, err := out.Write(f.content); err != nil {
			return fmt.Errorf("execution: %w", err)
		}
	}
	return z.Close()
}

type setupFile struct {
	name    string
	mode    fs.FileMode
	content []byte
}

func (inv *invocation) files() ([]setupFile, error) {
	entries, err := control.ReadDir("control")
	if err != nil {
		return nil, fmt.Errorf("execution: %w", err)
	}
	var files []setupFile
	for _, e := range entries {
		b, err := control.ReadFile("control/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("execution: %w", err)
		}
		mode := fs.FileMode(0o644)
		switch e.Name() {
		case "Invocation.sh":
			mode = 0o755
		case "Invocation.bat":
			b = []byte(strings.ReplaceAll(string(b), "\n", "\r\n"))
		}
		files = append(files, setupFile{e.Name(), mode, b})
	}
	jobJSON, err1 := json.MarshalIndent(inv.job, "", " ")
	secrets, err2 := json.Marshal(inv.credentials)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("execution: %w", err)
	}
	files = append(files,
		setupFile{"job.json", 0o600, jobJSON},
		setupFile{"credentials.json", 0o600, secrets},
		setupFile{"curl.conf", 0o600, inv.curl()})
	if len(inv.bundle) > 0 {
		files = append(files, setupFile{"ca-bundle.pem", 0o644, inv.bundle})
	}
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	return files, nil
}

// curl reports the run as failed on a machine that has no Python for the control script.
func (inv *invocation) curl() []byte {
	const reason = "No Python 3.5 or later was found on this machine, or it is one on which runs are not supported."
	body, err := json.Marshal(map[string]any{
		"name": "Microsoft.MachineLearning.Run.Failed",
		"data": map[string]any{"RunId": inv.job.RunID, "Error": map[string]string{"Code": "UserError", "Message": reason}},
	})
	if err != nil {
		panic(err) // strings alone
	}
	var b strings.Builder
	line := func(option, value string) {
		fmt.Fprintf(&b, "%s = \"%s\"\n", option, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value))
	}
	line("url", inv.job.Endpoint+"/history/v1.0"+inv.job.WorkspaceID+"/experiments/"+inv.job.Experiment+"/runs/"+inv.job.RunID+"/events")
	line("header", "Authorization: Bearer "+inv.credentials.Token)
	line("header", "Content-Type: application/json")
	line("data", string(body))
	line("retry", "5")
	if inv.job.Proxy != "" {
		line("proxy", inv.job.Proxy)
	}
	if len(inv.bundle) > 0 {
		line("cacert", "azureml-setup/ca-bundle.pem")
	}
	return []byte(b.String())
}
