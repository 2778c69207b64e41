//go:build !linux && !darwin

package hardware

func memoryMB() int { return 0 }
