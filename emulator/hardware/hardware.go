// Package hardware knows the VM sizes that Azure sold and what this machine
// has, and keeps account of who holds which CPU, memory and GPU.
package hardware

// Limits of one container; zero means none.
type Limits struct {
	CPU    float64 // cores
	Memory int64   // bytes
	GPUs   []string
}
