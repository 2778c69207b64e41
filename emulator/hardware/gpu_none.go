//go:build !cgo || !linux

package hardware

import (
	"errors"
	"runtime"
)

// SeesGPUs reports whether this build can look for GPUs, and if not, why.
func SeesGPUs() (bool, string) {
	if runtime.GOOS != "linux" {
		return false, "NVIDIA's management library exists on Linux alone: GPUs cannot be seen"
	}
	return false, "built without cgo: GPUs cannot be seen"
}

func driverGPUs() ([]GPU, error) {
	_, why := SeesGPUs()
	return nil, errors.New(why)
}
