// Package stranger uses the suite as somebody else's module does.
package stranger

import (
	"context"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"

	"lazulite.dev/conformance"
	"lazulite.dev/conformance/replay"
	"lazulite.dev/conformance/wire"
	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/hardware"
)

// A suite of one's own takes the specs in; the Config is filled before they run.
var (
	cfg = conformance.NewConfig()
	_   = conformance.Describe(&cfg)
	_   = ginkgo.BeforeSuite(func() {
		var err error
		if cfg, err = conformance.Load(""); err != nil {
			ginkgo.Fail(err.Error())
		}
		cfg.Results = os.Stderr
	})
)

func TestConformance(t *testing.T) { ginkgo.RunSpecs(t, "stranger") }

// The rest of the API, as a program would use it.
var (
	_ = conformance.Run
	_ = conformance.Test
	_ = conformance.Load
	_ = replay.Run
	_ = wire.New
)

// An emulator in somebody's own test: what its Config takes can be named from outside.
func emulated(ctx context.Context, dir string) (env []emulator.Var, err error) {
	e, err := emulator.New(emulator.Config{Dir: dir, Clock: clock.Real(), Engine: engine.NewSimulated(engine.Config{}),
		Hardware: hardware.New(hardware.Config{}), Lifecycle: "fast", Offline: true})
	if err != nil {
		return nil, err
	}
	if err := e.Open(ctx); err != nil {
		return nil, err
	}
	return e.Env(), e.Close(ctx)
}

var _ = emulated
