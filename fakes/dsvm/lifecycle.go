package dsvm

import (
	_ "embed"
	"time"

	"lazulite.dev/emulator/lifecycle"
)

// Lifecycle says how long each step of a VM takes and how often it fails, by
// the step's name: create, start, powerOff, restart, deallocate, update,
// resize, delete. What it leaves out takes no time and goes well. In the
// embedded ones "real" repeats what recordings of Azure of autumn 2018 show.
type Lifecycle = lifecycle.Lifecycle

//go:embed lifecycle.json
var lifecycleJSON []byte

func (f *Fake) delay(step string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lifecycle.Delay(step, f.cfg.Rand)
}

func (f *Fake) fails(step string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lifecycle.Fails(step, f.cfg.Rand)
}
