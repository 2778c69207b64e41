package pool

import "fmt"

// ToolType is toolType of Batch AI 2018-05-01.
type ToolType string

// The tool types.
const (
	Custom     ToolType = "custom"
	CustomMPI  ToolType = "custommpi"
	Horovod    ToolType = "horovod"
	TensorFlow ToolType = "tensorflow"
	PyTorch    ToolType = "pytorch"
	CNTK       ToolType = "cntk"
	Caffe      ToolType = "caffe"
	Caffe2     ToolType = "caffe2"
	Chainer    ToolType = "chainer"
)

// Toolkit is one of the job's toolkit settings. What a type has no use for is left empty.
type Toolkit struct {
	Type ToolType
	// CommandLine of custom and custommpi.
	CommandLine string `json:",omitempty"`
	Script      string `json:",omitempty"` // pythonScriptFilePath
	Interpreter string `json:",omitempty"` // pythonInterpreterPath; empty: python
	Arguments   string `json:",omitempty"` // commandLineArgs; of tensorflow the master's
	// ConfigFile of caffe and of cntk's BrainScript.
	ConfigFile string `json:",omitempty"`
	// Processes of an MPI launch or of pytorch; 0: the node count.
	Processes int `json:",omitempty"`
	// Backend is pytorch's communicationBackend: TCP, Gloo or MPI, in any case.
	Backend string `json:",omitempty"`
	// Of tensorflow. Workers 0: the node count; parameter servers 0: one if the job is distributed.
	WorkerArguments          string `json:",omitempty"`
	ParameterServerArguments string `json:",omitempty"`
	Workers                  int    `json:",omitempty"`
	ParameterServers         int    `json:",omitempty"`
}

func (t Toolkit) check(nodes int) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	if t.Processes < 0 || t.Workers < 0 || t.ParameterServers < 0 {
		return bad("a count of processes is negative")
	}
	switch t.Type {
	case Custom, CustomMPI:
		if t.CommandLine == "" {
			return bad("commandLine is empty")
		}
	case Horovod, PyTorch, Caffe2, Chainer, TensorFlow:
		if t.Script == "" {
			return bad("pythonScriptFilePath is empty")
		}
	case CNTK, Caffe:
		if (t.Script == "") == (t.ConfigFile == "") {
			return bad("one of configFilePath and pythonScriptFilePath is needed")
		}
	default:
		return bad("toolType %q", t.Type)
	}
	if t.ParameterServers > nodes {
		return bad("parameterServerCount is above nodeCount")
	}
	return nil
}
