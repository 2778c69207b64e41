//go:build cgo && linux

package hardware_test

import (
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
	nc24, _ := hardware.Size("Standard_NC24")
	if l, _, err := h.Acquire(nc24); err != nil || len(l.GPUs) != 4 {
		t.Errorf("NC24: %+v, %v", l, err)
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
