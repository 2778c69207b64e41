package lifecycle_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"lazulite.dev/emulator/lifecycle"
)

func TestLifecycle(t *testing.T) {
	all, err := lifecycle.Read([]byte(`{"fast": {}, "real": {"create": {"delay": "90s", "jitter": "30s"}, "delete": {"delay": "1m"}}, "chaos": {"create": {"fail": 0.5}}}`))
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	low, high, failed := time.Hour, time.Duration(0), 0
	for range 1000 {
		d := all["real"].Delay("create", dice)
		low, high = min(low, d), max(high, d)
		if all["chaos"].Fails("create", dice) {
			failed++
		}
		if all["fast"].Delay("create", dice) != 0 || all["real"].Delay("delete", dice) != time.Minute || all["real"].Fails("create", dice) {
			t.Fatal("what is left out takes time, or fails")
		}
	}
	if low < 90*time.Second || high >= 2*time.Minute || high-low < 20*time.Second {
		t.Errorf("create takes from %s to %s", low, high)
	}
	if failed < 400 || failed > 600 {
		t.Errorf("%d of 1000 failed, not half", failed)
	}
	for _, bad := range []string{`{`, `{"a": {"b": {"delay": "soon"}}}`, `{"a": {"b": {"jitter": "3"}}}`} {
		if _, err := lifecycle.Read([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
