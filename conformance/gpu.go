package conformance

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// board is what NVML says of each GPU of a size, and how many the size has.
type board struct {
	count int
	name  string
	// megabytes at least: the driver keeps a little, more of it with ECC.
	megabytes int
}

// boards are the sizes with GPUs of 2018, by "GPU optimized virtual machine sizes".
var boards = map[string]board{
	"standard_nc6": {1, "Tesla K80", 11000}, "standard_nc12": {2, "Tesla K80", 11000}, "standard_nc24": {4, "Tesla K80", 11000},
	"standard_nc6s_v2": {1, "Tesla P100-PCIE-16GB", 16000}, "standard_nc12s_v2": {2, "Tesla P100-PCIE-16GB", 16000}, "standard_nc24s_v2": {4, "Tesla P100-PCIE-16GB", 16000},
	"standard_nc6s_v3": {1, "Tesla V100-PCIE-16GB", 15500}, "standard_nc12s_v3": {2, "Tesla V100-PCIE-16GB", 15500}, "standard_nc24s_v3": {4, "Tesla V100-PCIE-16GB", 15500},
	"standard_nd6s": {1, "Tesla P40", 22500}, "standard_nd12s": {2, "Tesla P40", 22500}, "standard_nd24s": {4, "Tesla P40", 22500},
	"standard_nv6": {1, "Tesla M60", 8000}, "standard_nv12": {2, "Tesla M60", 8000}, "standard_nv24": {4, "Tesla M60", 8000},
}

// gpuMachine is a machine of the GPU size, logged into, that shows a GPU.
type gpuMachine struct {
	machine *machine
	board   board
}

// gpuMachine creates one the first time. An endpoint without GPUs is no failure: most machines have none.
func (s *session) gpuMachine() gpuMachine {
	return obtain(s, &s.fix.gpu, "a machine with a GPU", func() gpuMachine {
		b, ok := boards[strings.ToLower(s.cfg.GPUSize)]
		if !ok {
			s.skip("what GPUs a %s has is not known here", s.cfg.GPUSize)
		}
		m := s.createMachine(&machine{compute: computeName()}, s.cfg.GPUSize, s.cfg.GPULocation)
		if _, code := s.remote(s.login(m), "command -v nvidia-smi"); code != 0 {
			s.removeCompute(s.workspace().compute(m.compute))
			s.skip("the endpoint has no GPUs: its %s has no nvidia-smi", s.cfg.GPUSize)
		}
		return gpuMachine{m, b}
	})
}

// remote runs a command on a machine and gives its output and exit status.
func (s *session) remote(client *ssh.Client, command string) (string, int) {
	session, err := client.NewSession()
	if err != nil {
		s.fail("the machine gives no session: %v", err)
	}
	defer func() { _ = session.Close() }()
	out, err := session.CombinedOutput(command)
	if exit, ok := err.(*ssh.ExitError); ok {
		return string(out), exit.ExitStatus()
	}
	if err != nil {
		s.fail("%s on the machine: %v", command, err)
	}
	return string(out), 0
}

// lines of what a command that must succeed prints.
func (s *session) lines(m *machine, command string) []string {
	out, code := s.remote(s.login(m), command)
	if code != 0 {
		s.fail("%s on the machine: exit status %d: %s", command, code, out)
	}
	return strings.Split(strings.TrimSpace(out), "\n")
}

// countByNVML asks the driver's library, as a program does that has no binding.
const countByNVML = `import ctypes
n, c = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.c_uint()
assert n.nvmlInit_v2() == 0 and n.nvmlDeviceGetCount_v2(ctypes.byref(c)) == 0
name = ctypes.create_string_buffer(96)
for i in range(c.value):
    d = ctypes.c_void_p()
    assert n.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(d)) == 0 and n.nvmlDeviceGetName(d, name, 96) == 0
    print(name.value.decode())`

func gpuSpecs() []spec {
	return []spec{
		{"gpu.vm.list", func(s *session) {
			g := s.gpuMachine()
			list := s.lines(g.machine, "nvidia-smi -L")
			if len(list) != g.board.count {
				s.fail("a %s has %d GPU(s), it lists %q", s.cfg.GPUSize, g.board.count, list)
			}
			seen := map[string]bool{}
			for i, line := range list {
				head, id, _ := strings.Cut(line, " (UUID: GPU-")
				if head != fmt.Sprintf("GPU %d: %s", i, g.board.name) || id == "" || seen[id] {
					s.fail("GPU %d of a %s is a %s with an UUID of its own, not %q", i, s.cfg.GPUSize, g.board.name, line)
				}
				seen[id] = true
			}
		}},
		{"gpu.vm.query", func(s *session) {
			g := s.gpuMachine()
			for _, line := range s.lines(g.machine, "nvidia-smi --query-gpu=index,gpu_name,memory.total --format=csv,noheader,nounits") {
				fields := strings.Split(line, ", ")
				if len(fields) != 3 || fields[1] != g.board.name {
					s.fail("index, name and memory of a %s: %q", g.board.name, line)
				}
				if mb, err := strconv.Atoi(fields[2]); err != nil || mb < g.board.megabytes {
					s.fail("a %s has %d MiB or more, not %q", g.board.name, g.board.megabytes, fields[2])
				}
			}
			if out, code := s.remote(s.login(g.machine), "nvidia-smi --query-gpu=colour --format=csv"); code == 0 {
				s.fail("a field that isn't one is answered with %q", out)
			}
		}},
		{"gpu.vm.library", func(s *session) {
			g := s.gpuMachine()
			names := s.lines(g.machine, s.cfg.Python+" -c '"+countByNVML+"'")
			if len(names) != g.board.count || names[0] != g.board.name {
				s.fail("NVML shows %q, a %s has %d of %s", names, s.cfg.GPUSize, g.board.count, g.board.name)
			}
		}},
		{"gpu.vm.delete", func(s *session) {
			s.removeCompute(s.workspace().compute(s.gpuMachine().machine.compute))
		}},
	}
}
