package docker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

// guestMachine is a machine with a Docker of its own, and its disk.
func guestMachine(t *testing.T, e *docker.Engine, name string) (engine.Container, string) {
	t.Helper()
	disk := t.TempDir()
	c := start(t, e, engine.Spec{Name: name, Hostname: name, Docker: true, Limits: hardware.Limits{CPU: 1, Memory: 512 << 20},
		Mounts: []engine.Mount{{Source: disk, Target: "/home"}, {Source: t.TempDir(), Target: "/lent", ReadOnly: true}}})
	if _, errs, x, err := run(t, c, engine.Exec{Command: sh("docker version")}); err != nil || strings.Contains(errs, "not found") {
		t.Skipf("the base image has no docker command: lazulite images build makes it anew (%v, %+v, %s)", err, x, errs)
	}
	return c, disk
}

// step is a command in a machine, its exit code, and what it says.
type step struct {
	script string
	code   int
	out    string // whole standard output; empty: not looked at
	errs   string // part of what it says besides
}

func steps(t *testing.T, c engine.Container, all []step) {
	t.Helper()
	for _, s := range all {
		out, errs, x, err := run(t, c, engine.Exec{Command: sh(s.script)})
		if err != nil || x.Code != s.code || s.out != "" && strings.TrimSpace(out) != s.out || !strings.Contains(errs+out, s.errs) {
			t.Errorf("%s: code %d, %q, %q, %v; want %d, %q, %q", s.script, x.Code, out, errs, err, s.code, s.out, s.errs)
		}
	}
}

const base = docker.BaseImage

// What a person types on a machine works as on one of its own.
func TestDockerInAMachine(t *testing.T) {
	e := open(t, docker.Config{Dir: t.TempDir()})
	c, disk := guestMachine(t, e, "vm1")
	if err := os.MkdirAll(filepath.Join(disk, "ada", "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	steps(t, c, []step{
		{"docker run --rm " + base + " echo hello", 0, "hello", ""},
		{"echo in | docker run --rm -i " + base + " sh -c 'cat; exit 7'", 7, "in", ""},
		{"docker run --name web -d --restart always -p 8000:8000 " + base + " python3 -m http.server 8000", 0, "", ""},
		{"curl -sS --retry 20 --retry-connrefused --retry-delay 0 -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/", 0, "200", ""},
		{"docker ps --format '{{.Names}} {{.Image}}'", 0, "web " + base, ""},
		{"docker inspect --format '{{.Name}} {{.State.Running}}' web", 0, "/web true", ""},
		{"docker exec web sh -c 'echo $((6*7)); hostname'", 0, "42\nvm1", ""},
		{"docker run --rm -v /home/ada/files:/w " + base + " sh -c 'echo kept >/w/kept'; cat /home/ada/files/kept", 0, "kept", ""},
		{"docker run --rm --mount type=bind,source=/home/ada,target=/a,readonly " + base + " sh -c 'cat /a/files/kept; touch /a/x'", 1, "kept", "Read-only"},
		{"docker run --rm -v data:/d " + base + " sh -c 'echo 1 >/d/f' && docker run --rm -v data:/d " + base + " cat /d/f && docker volume ls -q", 0, "1\ndata", ""},
		{"docker run --rm " + base + " cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | head -1", 0, "536870912", ""},
		{"docker run --rm --memory 64m " + base + " cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | head -1", 0, "67108864", ""},
		{"docker info --format '{{.Name}} {{.NCPU}} {{.MemTotal}}'", 0, "vm1 1 536870912", ""},
		{"mkdir -p /home/b && cd /home/b && printf 'FROM " + base + "\\nRUN echo built >/built\\nCMD cat /built\\n' >Dockerfile; docker build -q -t lazulite-test/app . >/dev/null && docker run --rm lazulite-test/app", 0, "built", ""},
		{"docker create --name one " + base + " true && docker cp /home/b/Dockerfile one:/x && docker cp one:/x - | tar -xO | head -1 && docker commit one lazulite-test/two", 0, "", "FROM"},
		{"docker image inspect --format '{{index .Config.Labels \"dev.lazulite.instance\"}}' lazulite-test/two", 0, "", ""},
		{"docker rename one uno && docker rm uno && docker rmi lazulite-test/two lazulite-test/app >/dev/null", 0, "uno", ""},
		{"docker run --rm --pid host " + base + " sh -c 'tr \"\\0\" \" \" </proc/1/cmdline'", 0, "", "docker-init"},
		{"docker run --rm --ipc host --network none " + base + " true", 0, "", ""},
		{"docker run --rm --privileged " + base + " true", 125, "", "Privileged"},
		{"docker run --rm --device /dev/null " + base + " true", 125, "", "Devices"},
		{"docker run --rm --cap-add SYS_ADMIN " + base + " true", 125, "", "CapAdd"},
		{"docker run --rm --security-opt systempaths=unconfined " + base + " true", 125, "", "not offered"},
		{"docker run --rm --userns host " + base + " true", 125, "", "UsernsMode"},
		{"docker run --rm -v /:/host " + base + " true", 125, "", "can't be shared"},
		{"docker run --rm -v /etc:/host " + base + " true", 125, "", "/home"},
		{"ln -sfn / /home/ada/out; docker run --rm -v /home/ada/out/etc:/host " + base + " true", 125, "", "can't be shared"},
		{"ln -sfn /home/ada/files /home/ada/in; docker run --rm -v /home/ada/in:/w " + base + " cat /w/kept", 0, "kept", ""},
		{"docker run --rm -v /lent:/l " + base + " touch /l/x", 1, "", "Read-only"},
		{"docker volume create --opt type=none --opt o=bind --opt device=/ bad", 1, "", "not offered"},
		{"docker run --rm --cpus 3 " + base + " true", 125, "", "Range of CPUs"},
		{"docker run --rm --gpus all " + base + " true", 125, "", "could not select device driver"},
		{"docker run --rm -p 8080:80 " + base + " true", 125, "", "-p 80:80"},
		{"docker network create n", 1, "", "share the machine's own"},
		{"docker swarm init", 1, "", "swarm"},
		{"docker rmi " + base, 1, "", "did not build"},
		{"docker tag " + base + " " + base, 1, "", "did not build"},
		{"docker pull 127.0.0.1:1/none", 1, "", "refused"},
		{`curl -sS -w '%{http_code}' -H 'Content-Type: application/json' --unix-socket /run/docker.sock http://d/containers/create -d '{"Image":"` + base + `","hostconfig":{"privileged":true}}'`, 0, "", "403"},
		{`curl -sS -w '%{http_code}' -H 'Content-Type: application/json' --unix-socket /run/docker.sock http://d/containers/create -d '{"Image":"` + base + `","HostConfig":{"Mounts":[{"Type":"tmpfs","type":"bind","source":"/","target":"/h"}]}}'`, 0, "", "400"},
		{"curl -sS -o /dev/null -w '%{http_code}' --path-as-is --unix-socket /run/docker.sock http://d/images/../containers/json", 0, "404", ""},
	})

	// Another machine sees nothing of it; the host's containers are nobody's.
	other, _ := guestMachine(t, e, "vm2")
	steps(t, other, []step{
		{"docker ps -aq; docker volume ls -q; docker inspect web", 1, "[]", "No such"},
		{"docker rm -f web", 0, "", "No such container"},
		{"docker run --name web -d " + base + " sleep 1000", 0, "", ""},
		{"docker run --rm --network container:" + c.ID() + " " + base + " true", 125, "", "No such container"},
		{"docker stop -t 0 " + c.ID(), 1, "", "No such container"},
	})

	// A machine's end is theirs; its next start is that of those that are to run always.
	if err := c.Stop(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := within(t, e, "vm1", false); n != 0 {
		t.Errorf("%d containers run in a machine that is off", n)
	}
	c, err := c.(engine.Restarter).Restart(t.Context(), hardware.Limits{CPU: 1, Memory: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	steps(t, c, []step{
		{"curl -sS --retry 20 --retry-connrefused --retry-delay 0 -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/", 0, "200", ""},
		{"docker info --format '{{.MemTotal}}'", 0, "268435456", ""},
		{"docker run --rm -v data:/d " + base + " cat /d/f", 0, "1", ""},
	})
	if err := c.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := within(t, e, "vm1", true); n != 0 {
		t.Errorf("%d containers are left of a machine that is removed", n)
	}
	if n := within(t, e, "vm2", false); n != 1 {
		t.Errorf("%d containers run in the other machine", n)
	}
}

// within counts the containers that a machine's Docker has.
func within(t *testing.T, e *docker.Engine, machine string, all bool) int {
	t.Helper()
	args := []string{"ps", "-q", "--filter", "label=dev.lazulite.instance=" + e.Instance(), "--filter", "label=dev.lazulite.within=" + machine}
	if all {
		args = append(args, "-a")
	}
	out, err := exec.Command("docker", args...).Output()
	if err != nil {
		t.Skip(err)
	}
	return len(strings.Fields(string(out)))
}

// What a machine's Docker runs goes on when the emulator is killed, and the next finds it.
func TestDockerInAMachineThatIsAdopted(t *testing.T) {
	dir := t.TempDir()
	cfg := docker.Config{InstanceID: testInstance + "-within", Dir: dir, Keep: true}
	first := open(t, cfg)
	c, _ := guestMachine(t, first, "vm1")
	stray, _ := guestMachine(t, first, "vm2")
	for _, m := range []engine.Container{c, stray} {
		steps(t, m, []step{{"docker run -d --name job " + base + " sleep 1000", 0, "", ""}})
	}
	second := open(t, cfg) // as after kill -9: the first is not asked
	if found, err := second.Found(t.Context()); err != nil || len(found) != 2 {
		t.Errorf("found %q, %v", found, err)
	}
	again, err := second.Adopt(t.Context(), "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if mine, strays := within(t, second, "vm1", true), within(t, second, "vm2", true); mine != 1 || strays != 0 {
		t.Errorf("after Sweep %d of the machine that was adopted, %d of the other", mine, strays)
	}
	steps(t, again, []step{
		{"docker ps --format '{{.Names}}'", 0, "job", ""},
		{"docker exec job echo alive", 0, "alive", ""},
	})
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := within(t, second, "vm1", true); n != 0 {
		t.Errorf("after Close %d are left", n)
	}
}
