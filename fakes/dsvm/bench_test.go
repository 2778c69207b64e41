package dsvm_test

import (
	"fmt"
	"testing"
)

// BenchmarkCreate is a VM from its PUT to its operation's end, a login to itself included.
func BenchmarkCreate(b *testing.B) {
	w := newWorld(b, b.TempDir(), nil)
	for i := 0; b.Loop(); i++ {
		vm := w.create(fmt.Sprintf("vm%d", i))
		b.StopTimer()
		w.delete(vm)
		w.settle()
		b.StartTimer()
	}
}
