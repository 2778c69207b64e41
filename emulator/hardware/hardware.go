// Package hardware knows the VM sizes that Azure sold in October 2018 and what
// this machine has, and keeps account of who holds which CPU, memory and GPU.
//
// The size table (sizes.json) answers for what a client may ask: a Standard_D2_v2
// has 2 cores and 7168 MB whether or not the host has them. The Host answers for
// what is really there. CPU and memory may be promised more often than they
// exist, as a laptop that plays a cluster must; the account says by how much.
// A GPU is held by one at a time. None is made up, unless the Config asks for a
// Simulation: devices that NVML and nvidia-smi show, and that compute nothing.
//
// Nothing is looked at before it is asked for: no library is loaded and no GPU
// touched until the first size with a GPU is acquired or GPUs is called.
// It does not enforce limits; an engine does that as far as it can.
package hardware

import "fmt"

// Limits of one container; zero means none.
type Limits struct {
	CPU    float64 // cores
	Memory int64   // bytes
	// GPUs are the UUIDs (as NVML shows them) of the devices that the container holds alone.
	GPUs []string
	// Stub shows them in the container, if they are simulated; nil: they are real.
	Stub *Stub
}

// NoticeVariable is where machines have their Notice, in the environment of
// whatever runs on them; it is absent where there is none. Who runs something on a machine by
// its own protocol, and knows nothing of this package, reads it there: a run's control script makes a warning of it.
const NoticeVariable = "LAZULITE_NOTICE"

// Notice is what a user should know of a machine of a size that has GPUs: that
// it has fewer, or that they are simulated. It is a sentence for the warnings of
// whatever runs there; empty where all is as the size says.
func (s VMSize) Notice(l Limits) string {
	switch got := len(l.GPUs); {
	case s.GPUs == 0 || got == s.GPUs && l.Stub == nil:
		return ""
	case got == 0:
		return fmt.Sprintf("A %s has %d GPU(s) (%s); this host had none to give: it runs on the CPU.", s.Name, s.GPUs, s.GPUModel)
	case l.Stub != nil && got == s.GPUs:
		return fmt.Sprintf("The %d GPU(s) (%s) of this %s are simulated: NVML and nvidia-smi show them, and they compute nothing.", got, s.GPUModel, s.Name)
	default:
		return fmt.Sprintf("A %s has %d GPU(s) (%s); this host had %d to give.", s.Name, s.GPUs, s.GPUModel, got)
	}
}
