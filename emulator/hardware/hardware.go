// Package hardware knows the VM sizes that Azure sold in October 2018 and what
// this machine has, and keeps account of who holds which CPU, memory and GPU.
//
// The size table (sizes.json) answers for what a client may ask: a Standard_D2_v2
// has 2 cores and 7168 MB whether or not the host has them. The Host answers for
// what is really there. CPU and memory may be promised more often than they
// exist, as a laptop that plays a cluster must; the account says by how much.
// A GPU is held by one at a time, and is never made up.
//
// Nothing is looked at before it is asked for: no library is loaded and no GPU
// touched until the first size with a GPU is acquired or GPUs is called.
// It does not enforce limits; an engine does that as far as it can.
package hardware

// Limits of one container; zero means none.
type Limits struct {
	CPU    float64 // cores
	Memory int64   // bytes
	// GPUs are the UUIDs (as NVML shows them) of the devices that the container holds alone.
	GPUs []string
}
