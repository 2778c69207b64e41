package batchai

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		text string
		d    time.Duration
		iso  string
	}{
		{"P7D", 7 * day, "P7D"}, {"7.00:00:00", 7 * day, "P7D"}, {"PT1H30M", 90 * time.Minute, "PT1H30M"}, {"01:30:00", 90 * time.Minute, "PT1H30M"},
		{"P1DT2H3M4.5S", day + 2*time.Hour + 3*time.Minute + 4500*time.Millisecond, "P1DT2H3M4.5S"}, {"00:00:01.5", 1500 * time.Millisecond, "PT1.5S"}, {"PT0S", 0, "PT0S"},
	} {
		if d, err := parseDuration(tt.text); err != nil || d != tt.d || formatDuration(d) != tt.iso {
			t.Errorf("%s: %v %v %s", tt.text, d, err, formatDuration(d))
		}
	}
	for _, bad := range []string{"", "P", "PT", "7", "-P1D", "P1M", "1:2:3", "P99999999999D", "tomorrow"} {
		if d, err := parseDuration(bad); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
}
