package pool

import (
	"fmt"
	"path"
	"strings"
)

// process is one of those that a job is launched as.
type process struct {
	place   int // index of the node
	name    string
	command string // for a shell
	env     []string
	suffix  string // of its files: stdout-SUFFIX.txt
	serves  bool   // it has no end of its own: the job does not wait for it
	mpi     bool
}

// plan says as which processes the job runs. ports gives n ports that are free on a node.
func (l *launch) plan(ports func(place, n int) ([]int, error)) ([]process, error) {
	t := l.job.spec.Toolkit
	nodes := len(l.places)
	count := t.Processes
	if count == 0 {
		count = nodes
	}
	python := func(arguments string) string {
		interpreter := "python"
		if t.Interpreter != "" {
			interpreter = `"` + t.Interpreter + `"`
		}
		return strings.TrimSpace(interpreter + ` "` + t.Script + `" ` + arguments)
	}
	one := func(command string) []process { return []process{{command: command}} }
	switch t.Type {
	case Custom:
		return one(t.CommandLine), nil
	case CustomMPI:
		return l.mpi(t.CommandLine, count), nil
	case Horovod:
		return l.mpi(python(t.Arguments), count), nil
	case Chainer:
		if count == 1 {
			return one(python(t.Arguments)), nil
		}
		return l.mpi(python(t.Arguments), count), nil
	case CNTK:
		command := python(t.Arguments)
		if t.Script == "" {
			command = strings.TrimSpace(`cntk configFile="` + t.ConfigFile + `" ` + t.Arguments)
		}
		if count == 1 {
			return one(command), nil
		}
		return l.mpi(command, count), nil
	case Caffe:
		command := python(t.Arguments)
		if t.Script == "" {
			command = strings.TrimSpace(`caffe train --solver="` + t.ConfigFile + `" ` + t.Arguments)
		}
		if count == 1 {
			return one(command), nil
		}
		return l.mpi(command, count), nil
	case Caffe2:
		return l.each(python(t.Arguments), nodes, nil), nil
	case PyTorch:
		return l.pyTorch(python(t.Arguments), count, ports)
	case TensorFlow:
		return l.tensorFlow(python, ports)
	}
	return nil, fmt.Errorf("%w: toolType %q", ErrInvalid, t.Type)
}

// each is the same command a number of times, over the nodes in turn, told apart by its index.
func (l *launch) each(command string, count int, env []string) []process {
	if count == 1 {
		return []process{{command: command, env: append(env, "AZ_BATCHAI_TASK_INDEX=0")}}
	}
	var out []process
	for i := range count {
		out = append(out, process{place: i % len(l.places), name: fmt.Sprint(i), suffix: fmt.Sprint(i), command: command,
			env: append(append([]string{}, env...), fmt.Sprintf("AZ_BATCHAI_TASK_INDEX=%d", i))})
	}
	return out
}

// pyTorch has the processes find each other as its communication backend wants it.
func (l *launch) pyTorch(command string, count int, ports func(place, n int) ([]int, error)) ([]process, error) {
	backend := strings.ToLower(l.job.spec.Toolkit.Backend)
	env := []string{"AZ_BATCHAI_PYTORCH_BACKEND=" + backend}
	switch backend {
	case "mpi":
		return l.mpi(command, count), nil
	case "tcp":
		free, err := ports(0, 1)
		if err != nil {
			return nil, err
		}
		env = append(env, fmt.Sprintf("AZ_BATCHAI_PYTORCH_INIT_METHOD=tcp://%s:%d", l.places[0].node.ip, free[0]))
	default:
		// Shared among the nodes; each sees it at the same path, but on the process engine.
		env = append(env, "AZ_BATCHAI_PYTORCH_INIT_METHOD=file://"+path.Join(l.places[0].folders.inside("$AZ_BATCHAI_SHARED_JOB_TEMP"), "init"))
	}
	return l.each(command, count, env), nil
}

// tensorFlow is parameter servers and workers, the first of which is the master.
func (l *launch) tensorFlow(python func(string) string, ports func(place, n int) ([]int, error)) ([]process, error) {
	t := l.job.spec.Toolkit
	nodes := len(l.places)
	workers, servers := t.Workers, t.ParameterServers
	if workers == 0 {
		workers = nodes
	}
	if servers == 0 && (nodes > 1 || workers > 1) {
		servers = 1
	}
	if workers == 1 && servers == 0 {
		return []process{{command: python(t.Arguments), env: []string{"AZ_BATCHAI_TASK_INDEX=0"}}}, nil
	}
	var psHosts, workerHosts []string
	for p := range nodes {
		n := 0
		for i := p; i < servers; i += nodes {
			n++
		}
		for i := p; i < workers; i += nodes {
			n++
		}
		free, err := ports(p, n)
		if err != nil {
			return nil, err
		}
		l.places[p].ports = free
	}
	host := func(at int) string {
		pl := l.places[at]
		port := pl.ports[0]
		pl.ports = pl.ports[1:]
		return fmt.Sprintf("%s:%d", pl.node.ip, port)
	}
	for i := range servers {
		psHosts = append(psHosts, host(i%nodes))
	}
	for i := range workers {
		workerHosts = append(workerHosts, host(i%nodes))
	}
	common := func(role string, index int) []string {
		return []string{"AZ_BATCHAI_PS_HOSTS=" + strings.Join(psHosts, ","), "AZ_BATCHAI_WORKER_HOSTS=" + strings.Join(workerHosts, ","),
			fmt.Sprintf("AZ_BATCHAI_TASK_INDEX=%d", index), "TF_CONFIG=" + taskConfig(psHosts, workerHosts, role, index)}
	}
	var out []process
	for i := range servers {
		suffix := fmt.Sprintf("ps-%d", i)
		out = append(out, process{place: i % nodes, name: suffix, suffix: suffix, command: python(t.ParameterServerArguments), env: common("ps", i), serves: true})
	}
	for i := range workers {
		suffix, role, arguments := fmt.Sprintf("wk-%d", i), "worker", t.WorkerArguments
		if i == 0 {
			role = "master"
			if t.Arguments != "" {
				arguments = t.Arguments
			}
		}
		out = append(out, process{place: i % nodes, name: suffix, suffix: suffix, command: python(arguments), env: common(role, i)})
	}
	return out, nil
}
