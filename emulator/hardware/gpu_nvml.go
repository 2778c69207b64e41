//go:build cgo && linux

package hardware

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// SeesGPUs reports whether this build can look for GPUs, and if not, why.
func SeesGPUs() (bool, string) { return true, "" }

func driverGPUs() ([]GPU, error) { return NVML(nvml.New())() }

// NVML finds GPUs through a given NVML: the driver's own, or a mock of it.
func NVML(lib nvml.Interface) func() ([]GPU, error) {
	return func() (gpus []GPU, err error) {
		switch r := lib.Init(); r {
		case nvml.SUCCESS:
		case nvml.ERROR_LIBRARY_NOT_FOUND, nvml.ERROR_DRIVER_NOT_LOADED, nvml.ERROR_GPU_NOT_FOUND:
			return nil, nil
		default:
			return nil, fmt.Errorf("hardware: NVML does not start: %s", lib.ErrorString(r))
		}
		defer lib.Shutdown()
		n, r := lib.DeviceGetCount()
		if r != nvml.SUCCESS {
			return nil, fmt.Errorf("hardware: NVML counts no devices: %s", lib.ErrorString(r))
		}
		for i := range n {
			g, e := device(lib, i)
			if e != nil {
				err = errors.Join(err, e)
				continue
			}
			gpus = append(gpus, g)
		}
		return gpus, err
	}
}

func device(lib nvml.Interface, i int) (GPU, error) {
	d, r := lib.DeviceGetHandleByIndex(i)
	if r != nvml.SUCCESS {
		return GPU{}, fmt.Errorf("hardware: GPU %d: %s", i, lib.ErrorString(r))
	}
	g := GPU{Index: i}
	if g.UUID, r = d.GetUUID(); r != nvml.SUCCESS {
		return GPU{}, fmt.Errorf("hardware: GPU %d has no UUID: %s", i, lib.ErrorString(r))
	}
	if g.Model, r = d.GetName(); r != nvml.SUCCESS {
		return GPU{}, fmt.Errorf("hardware: GPU %d has no name: %s", i, lib.ErrorString(r))
	}
	m, r := d.GetMemoryInfo()
	if r != nvml.SUCCESS {
		return GPU{}, fmt.Errorf("hardware: GPU %d tells no memory: %s", i, lib.ErrorString(r))
	}
	g.MemoryMB = int(m.Total >> 20)
	return g, nil
}
