package execution

import (
	"strings"

	"lazulite.dev/emulator/aml/plane"
)

// communicator is how the processes of a run find each other.
type communicator int

const (
	alone communicator = iota // one process
	overMPI
	overParameterServers
)

// layout is how a run spreads over nodes and processes.
type layout struct {
	communicator communicator
	nodes        int
	// perNode is of MPI, workers and servers are of TensorFlow's parameter servers.
	perNode, workers, servers int
}

// processes is how many of the script there will be.
func (l layout) processes() int {
	switch l.communicator {
	case overMPI:
		return l.nodes * l.perNode
	case overParameterServers:
		return l.workers + l.servers
	default:
		return 1
	}
}

// layout reads both SDKs' ways to ask for it: framework and batchai of 0.1.68,
// communicator and nodeCount of 1.x.
func (c *configuration) layout() (layout, error) {
	l := layout{nodes: 1, perNode: 1, workers: 1, servers: 1}
	for _, part := range []struct {
		field string
		asked *int
		to    *int
	}{
		{"batchai.nodeCount", c.BatchAI.NodeCount, &l.nodes},
		{"nodeCount", c.NodeCount, &l.nodes},
		{"mpi.processCountPerNode", c.MPI.ProcessCountPerNode, &l.perNode},
		{"tensorflow.workerCount", c.TensorFlow.WorkerCount, &l.workers},
		{"tensorflow.parameterServerCount", c.TensorFlow.ParameterServerCount, &l.servers},
	} {
		if part.asked == nil {
			continue
		}
		if *part.asked < 1 {
			return l, plane.BadRequest("Configuration."+part.field, "'Configuration.%s' must be 1 or more.", part.field)
		}
		// 1.x has both node counts, the one that it does not use being 1.
		*part.to = max(*part.to, *part.asked)
	}
	switch strings.ToLower(c.Communicator) {
	case "", "none":
	case "mpi", "openmpi", "intelmpi":
		l.communicator = overMPI
	case "parameterserver":
		l.communicator = overParameterServers
	default:
		return l, plane.BadRequest("Configuration.communicator",
			"The communicator '%s' is not emulated here: it must be one of None, OpenMpi, IntelMpi, ParameterServer.", c.Communicator)
	}
	switch strings.ToLower(c.Framework) {
	case "", "python", "pyspark", "tensorflow", "pytorch", "cntk":
	case "pythonmpi":
		l.communicator = overMPI
	case "tensorflowparameterserver":
		l.communicator = overParameterServers
	default:
		return l, plane.BadRequest("Configuration.framework",
			"The framework '%s' is not emulated here: it must be one of Python, PySpark, PythonMpi, TensorFlowParameterServer.", c.Framework)
	}
	if l.communicator == alone && l.nodes > 1 {
		return l, plane.BadRequest("Configuration.nodeCount",
			"A run on %d nodes needs a framework or a communicator that uses them: PythonMpi (OpenMpi) or TensorFlowParameterServer (ParameterServer).", l.nodes)
	}
	return l, nil
}

// checkOneProcess refuses, for a target that is one machine, what takes several.
func (c *configuration) checkOneProcess(target string) error {
	l, err := c.layout()
	if err != nil {
		return err
	}
	if l.communicator != alone {
		return plane.BadRequest("Configuration.framework", "Compute target '%s' is one machine: distributed training (node count, MPI or parameter servers) is supported on Batch AI alone.", target)
	}
	return nil
}
