//go:build cgo && linux

package hardware_test

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"

	"lazulite.dev/emulator/hardware"
)

func TestNVML(t *testing.T) {
	h := hardware.New(hardware.Config{GPUs: hardware.NVML(dgxa100.New())})
	gpus, err := h.GPUs()
	if err != nil || len(gpus) != 8 {
		t.Fatalf("%v, %v", gpus, err)
	}
	seen := map[string]bool{}
	for i, g := range gpus {
		if g.Index != i || g.UUID == "" || seen[g.UUID] || g.Model != "Mock NVIDIA A100-SXM4-40GB" || g.MemoryMB != 40960 {
			t.Errorf("GPU %d: %+v", i, g)
		}
		seen[g.UUID] = true
	}
	// Each is one machine's alone: two of four, and there is none for a third until one goes.
	nc24, nc6 := size(t, "Standard_NC24"), size(t, "Standard_NC6")
	held := map[string]bool{}
	var releases []func()
	for range 2 {
		l, release, err := h.Acquire(nc24)
		if err != nil || len(l.GPUs) != 4 || l.Stub != nil {
			t.Fatalf("NC24: %+v, %v", l, err)
		}
		releases = append(releases, release)
		for _, id := range l.GPUs {
			if held[id] || !seen[id] {
				t.Errorf("%s is held twice, or is not the machine's", id)
			}
			held[id] = true
		}
	}
	var no *hardware.NoGPU
	if _, _, err := h.Acquire(nc6); !errors.As(err, &no) || no.Have != 8 || no.Free != 0 {
		t.Errorf("a third: %v", err)
	}
	releases[1]()
	if l, _, err := h.Acquire(nc6); err != nil || len(l.GPUs) != 1 || nc6.Notice(l) != "" {
		t.Errorf("once one has gone: %+v, %v", l, err)
	}
}

func TestNVMLAbsentAndBroken(t *testing.T) {
	lib := func(r nvml.Return) nvml.Interface {
		return &mock.Interface{
			InitFunc:        func() nvml.Return { return r },
			ErrorStringFunc: func(r nvml.Return) string { return r.String() },
		}
	}
	for _, r := range []nvml.Return{nvml.ERROR_LIBRARY_NOT_FOUND, nvml.ERROR_DRIVER_NOT_LOADED} {
		if gpus, err := hardware.NVML(lib(r))(); len(gpus) != 0 || err != nil {
			t.Errorf("%v: %v, %v", r, gpus, err)
		}
	}
	if _, err := hardware.NVML(lib(nvml.ERROR_LIB_RM_VERSION_MISMATCH))(); err == nil {
		t.Error("a driver that does not fit its library is no empty machine")
	}
}

// TestStubThroughCgo reads the stub as any Go client does, with go-nvml itself.
func TestStubThroughCgo(t *testing.T) {
	l, _, err := simulated(t, "").Acquire(size(t, "Standard_NC24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(hardware.StubVariable, l.Stub.Table)
	lib := nvml.New(nvml.WithLibraryPath(l.Stub.Library))
	gpus, err := hardware.NVML(lib)()
	if err != nil || len(gpus) != 4 {
		t.Fatalf("%v, %v", gpus, err)
	}
	for i, g := range gpus {
		if g != (hardware.GPU{Index: i, UUID: l.GPUs[i], Model: "Tesla K80", MemoryMB: 11441}) {
			t.Errorf("%d: %+v", i, g)
		}
	}
	if r := lib.Init(); r != nvml.SUCCESS {
		t.Fatal(r)
	}
	defer lib.Shutdown()
	d, r := lib.DeviceGetHandleByIndex(3)
	if r != nvml.SUCCESS {
		t.Fatal(r)
	}
	if _, r := d.GetSerial(); r != nvml.ERROR_NOT_SUPPORTED {
		t.Errorf("serial: %v", r)
	}
	if p, r := d.GetComputeRunningProcesses(); r != nvml.SUCCESS || len(p) != 0 {
		t.Errorf("processes: %v, %v", p, r)
	}
	if v, r := lib.SystemGetDriverVersion(); r != nvml.SUCCESS || v != "410.72" {
		t.Errorf("driver: %q, %v", v, r)
	}
	// Without a table there is no driver, which is a machine without GPUs.
	t.Setenv(hardware.StubVariable, filepath.Join(t.TempDir(), "none"))
	lib.Shutdown()
	if gpus, err := hardware.NVML(lib)(); len(gpus) != 0 || err != nil {
		t.Errorf("without a table: %v, %v", gpus, err)
	}
}

// TestStubHasEverySymbol: a Go client that calls a function which its library lacks dies.
func TestStubHasEverySymbol(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "pkg/nvml/nvml.h"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(filepath.Join(stubFolder(t), "libnvidia-ml.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			has[s.Name] = true
		} else if !slices.Contains([]string{"getenv", "open", "read", "close"}, s.Name) {
			t.Errorf("it needs %s of whatever libc there is", s.Name)
		}
	}
	declared := regexp.MustCompile(`DECLDIR (nvml\w+)\s*\(`).FindAllSubmatch(header, -1)
	if len(declared) < 400 {
		t.Fatalf("the header declares %d functions only", len(declared))
	}
	for _, m := range declared {
		if !has[string(m[1])] {
			t.Errorf("it lacks %s", m[1])
		}
	}
	if needs, err := file.ImportedLibraries(); err != nil || len(needs) != 0 {
		t.Errorf("it needs libraries: %v, %v", needs, err)
	}
}
