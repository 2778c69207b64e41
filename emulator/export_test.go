package emulator

import (
	"context"

	"lazulite.dev/emulator/engine"
)

// Network is what fakes give their containers.
func (e *Emulator) Network(ctx context.Context) ([]string, []engine.Mount, error) {
	return e.network(ctx)
}

// Engine is the one that machines run on.
func (e *Emulator) Engine() engine.Engine { return e.engine }
