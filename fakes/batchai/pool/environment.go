package pool

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// environment is what a process of the job is given, as Batch AI's
// documentation of its variables has it, with what tasks of Azure Batch have, and
// the user's own last.
func (l *launch) environment(at int) []string {
	j, pl := l.job, l.places[at]
	var env []string
	set := func(name, value string) { env = append(env, name+"="+value) }
	for _, v := range pl.folders.variables() {
		set(v[0], v[1])
	}
	set("AZ_BATCHAI_STDOUTERR_DIR", pl.folders.inside(j.spec.stdOutErr()))
	set("AZ_BATCHAI_MPI_HOST_FILE", path.Join(pl.folders.inside("$AZ_BATCHAI_JOB_TEMP"), "hostfile"))
	gpus := fmt.Sprint(len(pl.node.limits.GPUs))
	set("AZ_BATCHAI_NUM_GPUS", gpus)
	set("AZ_BATCHAI_NUM_GPUS_PER_NODE", gpus)
	for _, in := range j.spec.Inputs {
		set("AZ_BATCHAI_INPUT_"+in.ID, pl.folders.inside(in.Path))
	}
	for _, o := range j.spec.Outputs {
		set("AZ_BATCHAI_OUTPUT_"+o.ID, pl.folders.inside(o.path(j.spec.Segment)))
	}
	set("AZ_BATCH_POOL_ID", j.cluster.spec.ID)
	set("AZ_BATCH_JOB_ID", j.spec.ID)
	set("AZ_BATCH_TASK_ID", j.spec.ID)
	set("AZ_BATCH_NODE_ID", pl.node.rec.ID)
	set("AZ_BATCH_NODE_ROOT_DIR", pl.folders.root)
	set("AZ_BATCH_NODE_SHARED_DIR", path.Join(pl.folders.root, "shared"))
	set("AZ_BATCH_TASK_DIR", pl.folders.inside("$AZ_BATCHAI_JOB_TEMP"))
	set("AZ_BATCH_TASK_WORKING_DIR", pl.folders.inside("$AZ_BATCHAI_JOB_TEMP"))
	set("AZ_BATCH_MASTER_NODE", l.places[0].node.ip+":6000")
	set("AZ_BATCH_NODE_LIST", strings.Join(l.hosts(), ";"))
	set("AZ_BATCH_HOST_LIST", strings.Join(l.hosts(), ","))
	set("AZ_BATCH_IS_CURRENT_NODE_MASTER", fmt.Sprint(at == 0))
	// Open MPI: as root, on as many processes as are asked for, over the job's own SSH.
	for name, value := range l.mpiSettings() {
		set(name, value)
	}
	env = append(env, variables(j.spec.Variables)...)
	set(markVariable, l.mark)
	return env
}

// hosts are the addresses of the nodes, the master's first.
func (l *launch) hosts() []string {
	var out []string
	for _, p := range l.places {
		out = append(out, p.node.ip)
	}
	return out
}

// taskConfig is TF_CONFIG as Batch AI sets it: the master is worker 0, and called so.
func taskConfig(ps, workers []string, role string, index int) string {
	data, err := json.Marshal(map[string]any{
		"cluster":     map[string]any{"ps": ps, "worker": workers},
		"task":        map[string]any{"type": role, "index": index},
		"environment": "cloud",
	})
	if err != nil {
		panic("pool: TF_CONFIG: " + err.Error())
	}
	return string(data)
}
