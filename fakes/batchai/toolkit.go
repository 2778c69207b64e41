package batchai

import (
	"fmt"
	"slices"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai/pool"
)

// toolkitSettings are the members of all toolkits' settings together.
type toolkitSettings struct {
	CommandLine                    string `json:"commandLine"`
	PythonScriptFilePath           string `json:"pythonScriptFilePath"`
	PythonInterpreterPath          string `json:"pythonInterpreterPath"`
	CommandLineArgs                string `json:"commandLineArgs"`
	ConfigFilePath                 string `json:"configFilePath"`
	LanguageType                   string `json:"languageType"`
	ProcessCount                   int    `json:"processCount"`
	CommunicationBackend           string `json:"communicationBackend"`
	MasterCommandLineArgs          string `json:"masterCommandLineArgs"`
	WorkerCommandLineArgs          string `json:"workerCommandLineArgs"`
	ParameterServerCommandLineArgs string `json:"parameterServerCommandLineArgs"`
	WorkerCount                    int    `json:"workerCount"`
	ParameterServerCount           int    `json:"parameterServerCount"`
}

// toolTypes are the toolType of each kind of settings.
func toolTypes() map[string]pool.ToolType {
	return map[string]pool.ToolType{"cntkSettings": pool.CNTK, "pyTorchSettings": pool.PyTorch, "tensorFlowSettings": pool.TensorFlow, "caffeSettings": pool.Caffe,
		"caffe2Settings": pool.Caffe2, "chainerSettings": pool.Chainer, "customToolkitSettings": pool.Custom, "customMpiSettings": pool.CustomMPI, "horovodSettings": pool.Horovod}
}

// toolkitOf finds the one kind of settings that a job has.
func toolkitOf(properties map[string]any, nodes int) (kind string, t pool.Toolkit, err error) {
	types := toolTypes()
	var there []string
	for name := range types {
		if properties[name] != nil {
			there = append(there, name)
		}
	}
	slices.Sort(there)
	switch len(there) {
	case 0:
		return "", t, &arm.Error{Status: 400, Code: "MissingRequiredProperty", Target: "properties",
			Message: "One of the toolkit settings (such as customToolkitSettings or tensorFlowSettings) must be specified for property Job.Properties."}
	case 1:
	default:
		return "", t, propertyRefused(kindJob, there[1], "", "can't be used: the job has "+there[0]+" already, and only one toolkit may be specified.")
	}
	name := there[0]
	var s toolkitSettings
	if err := convert(properties[name], &s); err != nil {
		return "", t, err
	}
	t = pool.Toolkit{Type: types[name], CommandLine: s.CommandLine, Script: s.PythonScriptFilePath, Interpreter: s.PythonInterpreterPath, Arguments: s.CommandLineArgs,
		ConfigFile: s.ConfigFilePath, Processes: s.ProcessCount, Backend: s.CommunicationBackend,
		WorkerArguments: s.WorkerCommandLineArgs, ParameterServerArguments: s.ParameterServerCommandLineArgs, Workers: s.WorkerCount, ParameterServers: s.ParameterServerCount}
	if t.Type == pool.TensorFlow {
		t.Arguments = s.MasterCommandLineArgs
	}
	return string(t.Type), t, s.check(name, t.Type, nodes)
}

// check is what the descriptions of the members in BatchAI.json ask for.
func (s toolkitSettings) check(name string, kind pool.ToolType, nodes int) error {
	at := name + "."
	switch kind {
	case pool.Custom:
		if strings.TrimSpace(s.CommandLine) == "" {
			return propertyMissing(kindJob, at+"commandLine")
		}
	case pool.CNTK:
		switch {
		case strings.EqualFold(s.LanguageType, "BrainScript") && s.PythonScriptFilePath != "":
			return propertyRefused(kindJob, at+"pythonScriptFilePath", s.PythonScriptFilePath, "can be specified only if the languageType is 'Python'.")
		case strings.EqualFold(s.LanguageType, "Python") && s.ConfigFilePath != "":
			return propertyRefused(kindJob, at+"configFilePath", s.ConfigFilePath, "can be specified only if the languageType is 'BrainScript'.")
		case strings.EqualFold(s.LanguageType, "BrainScript") && s.ConfigFilePath == "":
			return propertyMissing(kindJob, at+"configFilePath")
		case s.PythonScriptFilePath == "" && s.ConfigFilePath == "":
			return propertyMissing(kindJob, at+"pythonScriptFilePath")
		}
	case pool.Caffe:
		switch {
		case s.PythonScriptFilePath != "" && s.ConfigFilePath != "":
			return propertyRefused(kindJob, at+"configFilePath", s.ConfigFilePath, "cannot be specified if pythonScriptFilePath is specified.")
		case s.PythonScriptFilePath == "" && s.ConfigFilePath == "":
			return propertyMissing(kindJob, at+"configFilePath")
		}
	case pool.PyTorch:
		if nodes > 1 && s.CommunicationBackend == "" {
			return propertyMissing(kindJob, at+"communicationBackend")
		}
	case pool.TensorFlow:
		if s.ParameterServerCount > nodes {
			return propertyRefused(kindJob, at+"parameterServerCount", s.ParameterServerCount, fmt.Sprintf("is greater than the nodeCount %d.", nodes))
		}
	}
	return nil
}
