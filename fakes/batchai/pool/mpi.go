package pool

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// jobSSHPort is where a job's own SSH server listens on its nodes, for its processes alone.
const jobSSHPort = 23

// mpi is one mpirun on the master, which starts the command that many times over the nodes.
func (l *launch) mpi(command string, count int) []process {
	names := []string{"PATH"}
	for _, v := range append(slices.Clone(l.places[0].node.env), l.environment(0)...) {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains(names, name) && !slices.Contains(ownNames, name) && !strings.HasPrefix(name, "OMPI_") {
			names = append(names, name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "exec mpirun -np %d --hostfile \"$AZ_BATCHAI_MPI_HOST_FILE\" --bind-to none", count)
	for _, n := range names {
		b.WriteString(" -x " + n)
	}
	b.WriteString(" " + l.shell() + " -c " + quote(command))
	return []process{{command: b.String(), mpi: true}}
}

// ownNames are variables that each node has values of its own for.
var ownNames = []string{"HOME", "USER", "LOGNAME", "TMPDIR", "SHELL", "AZ_BATCH_NODE_ID", "AZ_BATCH_IS_CURRENT_NODE_MASTER", "CUDA_VISIBLE_DEVICES"}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (l *launch) shell() string {
	if l.kind == kindProcess {
		return shell()
	}
	return "/bin/sh"
}

// hostfile names the nodes as mpirun reads them. On the process engine all are
// this host: the processes are the master's.
func (l *launch) hostfile() string {
	t := l.job.spec.Toolkit
	count := max(t.Processes, len(l.places))
	if l.kind == kindProcess {
		return fmt.Sprintf("localhost slots=%d\n", count)
	}
	slots := (count + len(l.places) - 1) / len(l.places)
	var b strings.Builder
	for _, h := range l.hosts() {
		fmt.Fprintf(&b, "%s slots=%d\n", h, slots)
	}
	return b.String()
}

// mpiSettings have Open MPI work in nodes as they are here: as root, by the
// job's own SSH, over the nodes' network.
func (l *launch) mpiSettings() map[string]string {
	settings := map[string]string{
		"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
		"OMPI_MCA_rmaps_base_oversubscribe":        "1",
		"OMPI_MCA_btl_vader_single_copy_mechanism": "none",
		"OMPI_MCA_btl_base_warn_component_unused":  "0",
		"OMPI_MCA_orte_tmpdir_base":                "/tmp",
		"OMPI_MCA_plm_rsh_no_tree_spawn":           "1",
		"OMPI_MCA_hwloc_base_binding_policy":       "none",
		"OMPI_MCA_mpi_yield_when_idle":             "1",
		"OMPI_MCA_pml":                             "ob1",
		"OMPI_MCA_btl":                             "self,vader,tcp",
	}
	if l.kind == kindDocker {
		key := filepath.Join(l.job.cluster.dir, "keys", "jobkey.pem")
		settings["OMPI_MCA_plm_rsh_args"] = strings.Join(append(sshOptions(key), "-o", "LogLevel=ERROR"), " ")
	}
	return settings
}

func sshOptions(key string) []string {
	return []string{"-p", fmt.Sprint(jobSSHPort), "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"}
}

// sshScript has an sshd run on a node for the time of the job, and ssh find the
// other nodes' by itself: jobssh KEYS MARK. Without one it does nothing.
var sshScript = fmt.Sprintf(`
keys=$1 mark=$2
PATH=$PATH:/usr/sbin:/sbin
sshd=$(command -v sshd) || exit 0
umask 077
mkdir -p /run/sshd /root/.ssh
chmod 755 /run/sshd
cat >/root/.ssh/config <<END
Host *
  Port %[1]d
  IdentityFile $keys/jobkey.pem
  StrictHostKeyChecking no
END
cp "$keys/jobkey.pub" /run/lazulite-job-keys
exec "$sshd" -p %[1]d -f /dev/null -h "$keys/hostkey-ssh-ed25519" -o PidFile=/run/lazulite-job-sshd.pid -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no \
  -o UsePAM=no -o AuthorizedKeysFile=/run/lazulite-job-keys -o StrictModes=no -o UseDNS=no -o MaxStartups=100:30:200 -o "SetEnv=%[2]s=$mark"
`, jobSSHPort, markVariable)

// jobTemp is the path of something in the job's temporary folder, as the job sees it.
func (p *place) jobTemp(names ...string) string {
	return path.Join(append([]string{p.folders.inside("$AZ_BATCHAI_JOB_TEMP")}, names...)...)
}
