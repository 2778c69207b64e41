package hardware_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/emulator/hardware"
)

// stubFolder builds the stub.
func stubFolder(t *testing.T) string {
	t.Helper()
	folder, err := hardware.BuildStub(t.Context(), t.TempDir())
	if errors.Is(err, hardware.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func simulated(t *testing.T, devices string) *hardware.Host {
	t.Helper()
	list, err := hardware.ParseDevices(devices)
	if err != nil {
		t.Fatal(err)
	}
	return hardware.New(hardware.Config{WithoutGPUs: true, Simulation: &hardware.Simulation{Devices: list, Folder: stubFolder(t), Dir: t.TempDir()}})
}

func size(t *testing.T, name string) hardware.VMSize {
	t.Helper()
	s, ok := hardware.Size(name)
	if !ok {
		t.Fatalf("no size %s", name)
	}
	return s
}

func TestParseDevices(t *testing.T) {
	for text, want := range map[string]string{
		"K80:4": "Tesla K80*4", "k80": "Tesla K80*1", "V100:1,P40:2": "Tesla V100-PCIE-16GB*1 Tesla P40*2", "Tesla M60:1": "Tesla M60*1",
		"P100-PCIE-16GB:2": "Tesla P100-PCIE-16GB*2", "": "",
	} {
		got, err := hardware.ParseDevices(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		n := map[string]int{}
		var models []string
		for _, g := range got {
			if n[g.Model]++; n[g.Model] == 1 {
				models = append(models, g.Model)
			}
		}
		var parts []string
		for _, m := range models {
			parts = append(parts, m+"*"+string(rune('0'+n[m])))
		}
		if strings.Join(parts, " ") != want {
			t.Errorf("%q: %v, want %s", text, parts, want)
		}
	}
	for _, text := range []string{"A100:1", "Tesla:1", "K80:0", "K80:many", "K80:65", "K80:40,K80:40", ",", ":2"} {
		if got, err := hardware.ParseDevices(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestSimulatedSizes: a size gets its own model, number and memory, from what there is.
func TestSimulatedSizes(t *testing.T) {
	h := simulated(t, "K80:4,V100:1")
	a, releaseA, err := h.Acquire(size(t, "Standard_NC12"))
	if err != nil || len(a.GPUs) != 2 || a.Stub == nil {
		t.Fatalf("NC12: %+v, %v", a, err)
	}
	b, releaseB, err := h.Acquire(size(t, "Standard_NC24"))
	if err != nil || len(b.GPUs) != 2 || slices.Contains(b.GPUs, a.GPUs[0]) || slices.Contains(b.GPUs, a.GPUs[1]) {
		t.Fatalf("NC24 on what is left: %+v, %v", b, err)
	}
	c, _, err := h.Acquire(size(t, "Standard_NC6"))
	if err != nil || len(c.GPUs) != 0 || c.Stub != nil {
		t.Fatalf("NC6 on nothing: %+v, %v", c, err)
	}
	v, _, err := h.Acquire(size(t, "Standard_NC6s_v3"))
	if err != nil || len(v.GPUs) != 1 {
		t.Fatalf("NC6s_v3: %+v, %v", v, err)
	}
	p, _, err := h.Acquire(size(t, "Standard_NV6"))
	if err != nil || len(p.GPUs) != 0 {
		t.Fatalf("NV6 has no K80: %+v, %v", p, err)
	}
	if table, err := os.ReadFile(v.Stub.Table); err != nil || strings.Count(string(table), "\n") != 2 ||
		!strings.Contains(string(table), v.GPUs[0]+"\tTesla V100-PCIE-16GB\t16160\t7.0\t00000001:00:00.0\n") {
		t.Errorf("table %q, %v", table, err)
	}
	// After a start a machine gets what it had, and its table is the file that it was.
	before, err := os.Stat(b.Stub.Table)
	if err != nil {
		t.Fatal(err)
	}
	releaseA()
	releaseB()
	again, _, err := h.Acquire(size(t, "Standard_NC12"), b.GPUs...)
	if err != nil || !slices.Equal(again.GPUs, b.GPUs) || *again.Stub != *b.Stub {
		t.Errorf("again %+v, had %+v, %v", again, b, err)
	}
	if after, err := os.Stat(again.Stub.Table); err != nil || !os.SameFile(before, after) {
		t.Errorf("the table is another file: %v", err)
	}
}

// TestSimulatedAtWill: with no number given there are as many as are asked for, each held by one.
func TestSimulatedAtWill(t *testing.T) {
	h := simulated(t, "")
	seen := map[string]bool{}
	var last hardware.Limits
	for range 20 {
		for _, name := range []string{"Standard_NC24", "Standard_NV12"} {
			l, _, err := h.Acquire(size(t, name))
			if err != nil || len(l.GPUs) != size(t, name).GPUs {
				t.Fatalf("%s: %+v, %v", name, l, err)
			}
			for _, id := range l.GPUs {
				if seen[id] {
					t.Fatalf("%s is held twice", id)
				}
				seen[id] = true
			}
			if name == "Standard_NC24" {
				last = l
			}
		}
	}
	fresh := simulated(t, "")
	if l, _, err := fresh.Acquire(size(t, "Standard_NC24"), last.GPUs...); err != nil || !slices.Equal(l.GPUs, last.GPUs) {
		t.Errorf("after a start: %+v, had %v, %v", l, last.GPUs, err)
	}
}

func TestNotice(t *testing.T) {
	nc12 := size(t, "Standard_NC12")
	two := []string{"a", "b"}
	for _, x := range []struct {
		name  string
		size  hardware.VMSize
		l     hardware.Limits
		holds string
	}{
		{"real", nc12, hardware.Limits{GPUs: two}, ""},
		{"no GPU in the size", size(t, "Standard_D2_v2"), hardware.Limits{}, ""},
		{"none", nc12, hardware.Limits{}, "Standard_NC12 has 2 GPU(s) (Tesla K80); this host had none to give: it runs on the CPU."},
		{"fewer", nc12, hardware.Limits{GPUs: two[:1]}, "this host had 1 to give"},
		{"simulated", nc12, hardware.Limits{GPUs: two, Stub: &hardware.Stub{}}, "are simulated"},
	} {
		if got := x.size.Notice(x.l); x.holds == "" && got != "" || !strings.Contains(got, x.holds) {
			t.Errorf("%s: %q", x.name, got)
		}
	}
}

func TestBuildStubWithoutCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := hardware.BuildStub(t.Context(), t.TempDir()); !errors.Is(err, hardware.ErrNoCompiler) {
		t.Errorf("%v", err)
	}
}

// TestSMI runs the node's nvidia-smi as users type it.
func TestSMI(t *testing.T) {
	h := simulated(t, "K80:4,M60:1")
	l, _, err := h.Acquire(size(t, "Standard_NC12"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args  string
		exit  int
		want  string // exactly, if set
		holds []string
	}{
		{args: "-L", want: "GPU 0: Tesla K80 (UUID: " + l.GPUs[0] + ")\nGPU 1: Tesla K80 (UUID: " + l.GPUs[1] + ")\n"},
		{args: "", holds: []string{"| NVIDIA-SMI 410.72       Driver Version: 410.72       CUDA Version: 10.0     |", "|   1  Tesla K80            Off | 00000002:00:00.0 Off |", "0MiB / 11441MiB", "No running processes found"}},
		{args: "--query-gpu=name,memory.total --format=csv", want: "name, memory.total [MiB]\nTesla K80, 11441 MiB\nTesla K80, 11441 MiB\n"},
		{args: "--query-gpu=gpu_name,memory.total,index --format=csv,noheader,nounits -i 1", want: "Tesla K80, 11441, 1\n"},
		{args: "--query-gpu=count,utilization.gpu,temperature.gpu,compute_cap --format=csv,noheader --id=0", want: "2, 0 %, [N/A], 3.7\n"},
		{args: "--query-compute-apps=pid,name --format=csv,noheader", want: ""},
		{args: "--query-gpu=color --format=csv", exit: 2, holds: []string{`Field "color" is not a valid field to query.`}},
		{args: "--query-gpu=name", exit: 2, holds: []string{"--format="}},
		{args: "--format=xml --query-gpu=name", exit: 2},
		{args: "--reset", exit: 2, holds: []string{"Invalid combination of input arguments"}},
		{args: "-i 2", exit: 6, want: "No devices were found\n"},
		{args: "-h", holds: []string{"simulated by lazulite"}},
	} {
		cmd := exec.Command(l.Stub.SMI, strings.Fields(x.args)...)
		cmd.Env = append(os.Environ(), hardware.StubVariable+"="+l.Stub.Table)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != x.exit || x.want != "" && string(out) != x.want {
			t.Errorf("nvidia-smi %s = %d, %v\n%s", x.args, code, err, out)
		}
		for _, s := range x.holds {
			if !strings.Contains(string(out), s) {
				t.Errorf("nvidia-smi %s lacks %q:\n%s", x.args, s, out)
			}
		}
	}
}

// TestPythonNVML drives nvidia-ml-py, from PyPI, over the stub.
func TestPythonNVML(t *testing.T) {
	venv := os.Getenv("LAZULITE_NVML")
	if venv == "" {
		venv = "../../.venv/nvml"
	}
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skip("no nvml environment: make clients prepares it (or set LAZULITE_NVML)")
	}
	h := simulated(t, "")
	for name, want := range map[string]string{
		"Standard_NC6": "1 Tesla K80 11441 3.7", "Standard_NC12": "2 Tesla K80 11441 3.7", "Standard_NC24": "4 Tesla K80 11441 3.7",
		"Standard_NC6s_v2": "1 Tesla P100-PCIE-16GB 16280 6.0", "Standard_NC6s_v3": "1 Tesla V100-PCIE-16GB 16160 7.0",
		"Standard_ND12s": "2 Tesla P40 24451 6.1", "Standard_NV24": "4 Tesla M60 8129 5.2",
	} {
		l, _, err := h.Acquire(size(t, name))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "-c", pynvml)
		cmd.Env = append(os.Environ(), hardware.StubVariable+"="+l.Stub.Table, "LD_LIBRARY_PATH="+filepath.Dir(l.Stub.Library))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %s, %v; want %s", name, out, err, want)
		}
	}
}

const pynvml = `
import ctypes, pynvml as n
n.nvmlInit()
assert n.nvmlSystemGetDriverVersion() == '410.72' and n.nvmlSystemGetCudaDriverVersion() == 10000
for i in range(n.nvmlDeviceGetCount()):
    h = n.nvmlDeviceGetHandleByIndex(i)
    assert ctypes.addressof(n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(h)).contents) == ctypes.addressof(h.contents) and n.nvmlDeviceGetIndex(h) == i
    assert ctypes.addressof(n.nvmlDeviceGetHandleByPciBusId(n.nvmlDeviceGetPciInfo(h).busId).contents) == ctypes.addressof(h.contents)
    assert n.nvmlDeviceGetUtilizationRates(h).gpu == 0 and n.nvmlDeviceGetComputeRunningProcesses(h) == []
    assert n.nvmlDeviceGetMemoryInfo(h, version=n.nvmlMemory_v2).total == n.nvmlDeviceGetMemoryInfo(h).total
    for f in (lambda: n.nvmlDeviceGetTemperature(h, 0), lambda: n.nvmlDeviceGetPowerUsage(h), lambda: n.nvmlDeviceGetSerial(h)):
        try:
            f(); raise SystemExit('it answers')
        except n.NVMLError_NotSupported: pass
try:
    n.nvmlDeviceGetHandleByIndex(99); raise SystemExit('device 99')
except n.NVMLError_InvalidArgument: pass
print(n.nvmlDeviceGetCount(), n.nvmlDeviceGetName(h), n.nvmlDeviceGetMemoryInfo(h).total >> 20, '%d.%d' % n.nvmlDeviceGetCudaComputeCapability(h))
n.nvmlShutdown()
try:
    n.nvmlDeviceGetCount(); raise SystemExit('after the end')
except n.NVMLError_Uninitialized: pass
`
