package hdinsight

import (
	_ "embed"
	"time"

	"lazulite.dev/emulator/lifecycle"
)

// Lifecycle says how long each step of a cluster takes besides what it does,
// and how often Azure fails it: create, resize, delete, application, update
// and script. What it leaves out takes no time of its own and goes well.
type Lifecycle = lifecycle.Lifecycle

//go:embed lifecycle.json
var lifecycleJSON []byte

func (f *Fake) delay(step string) time.Duration {
	f.dice.Lock()
	defer f.dice.Unlock()
	return f.lifecycle.Delay(step, f.cfg.Rand)
}

func (f *Fake) fails(step string) bool {
	f.dice.Lock()
	defer f.dice.Unlock()
	return f.lifecycle.Fails(step, f.cfg.Rand)
}
