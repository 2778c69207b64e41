package clock_test

import (
	"testing"
	"time"

	"lazulite.dev/emulator/clock"
)

func TestManual(t *testing.T) {
	start := time.Date(2018, 10, 20, 0, 0, 0, 0, time.UTC)
	m := clock.NewManual(start)
	late, early := m.NewTimer(2*time.Hour), m.NewTimer(time.Hour)
	never := m.NewTimer(time.Hour)
	if !never.Stop() || never.Stop() {
		t.Fatal("Stop must report once that it stopped a pending timer")
	}
	if n, _ := m.Waiting(); n != 2 {
		t.Fatalf("%d timers wait", n)
	}
	m.Advance(90 * time.Minute)
	if at := <-early.C(); !at.Equal(start.Add(time.Hour)) {
		t.Fatalf("fired at %s", at)
	}
	select {
	case <-late.C():
		t.Fatal("fired before its time")
	case <-never.C():
		t.Fatal("a stopped timer fired")
	default:
	}
	m.Advance(30 * time.Minute)
	<-late.C()
	if m.Since(start) != 2*time.Hour {
		t.Fatal(m.Now())
	}
	// Ensure a timer of no length fires at once.
	<-m.NewTimer(0).C()
}

func TestScaled(t *testing.T) {
	c := clock.Scaled(3600)
	before := c.Now()
	<-c.NewTimer(36 * time.Second).C() // 10 ms of the machine's time
	if d := c.Since(before); d < 36*time.Second {
		t.Fatalf("only %s passed", d)
	}
}
