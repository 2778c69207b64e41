package engine_test

import (
	"testing"

	"lazulite.dev/emulator/engine"
)

// BenchmarkNewProcess is the engine's share of the emulator's start.
func BenchmarkNewProcess(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		p, err := engine.NewProcess(engine.Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExec is one command that does nothing.
func BenchmarkExec(b *testing.B) {
	p, err := engine.NewProcess(engine.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(b.Context())
	c, err := p.Start(b.Context(), engine.Spec{Name: "m"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.(engine.Execer).Exec(b.Context(), engine.Exec{Command: []string{"true"}}); err != nil {
			b.Fatal(err)
		}
	}
}
