package batchai

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// parseDuration reads a time span as ISO 8601 has it (P7D, PT1H30M) or as .NET does (7.00:00:00).
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("batchai: %q is no duration", s)
	iso := regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)
	net := regexp.MustCompile(`^(?:(\d+)\.)?(\d+):(\d\d):(\d\d(?:\.\d+)?)$`)
	m := iso.FindStringSubmatch(s)
	if m == nil {
		m = net.FindStringSubmatch(s)
	}
	if m == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, bad
	}
	var total float64
	for i, unit := range []time.Duration{day, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, bad
		}
		total += n * float64(unit)
	}
	if total >= float64(1<<62) {
		return 0, bad
	}
	return time.Duration(total), nil
}

// formatDuration writes a time span in ISO 8601.
func formatDuration(d time.Duration) string {
	var b strings.Builder
	b.WriteString("P")
	if n := d / day; n > 0 {
		fmt.Fprintf(&b, "%dD", n)
	}
	if d %= day; d > 0 {
		b.WriteString("T")
	}
	if n := d / time.Hour; n > 0 {
		fmt.Fprintf(&b, "%dH", n)
	}
	if n := d % time.Hour / time.Minute; n > 0 {
		fmt.Fprintf(&b, "%dM", n)
	}
	if s := d % time.Minute; s > 0 {
		b.WriteString(strconv.FormatFloat(s.Seconds(), 'f', -1, 64) + "S")
	}
	if b.Len() == 1 {
		return "PT0S"
	}
	return b.String()
}
