package replay

import "strings"

// drift is what the real service itself did in different ways within the
// months that recordings are of: either is right.
type drift struct{ provider, header, one, other, reason string }

func drifts() []drift {
	return []drift{{"Microsoft.Storage", "Location", "api-version=2017-10-01", "api-version=2018-03-01-preview",
		"Microsoft.Storage named its operations' api-version 2017-10-01 in June 2018, whichever was asked for, and that of the request later that year"}}
}

// drifted says why two patterns of a header are no difference, or "".
func drifted(header, recorded, answered string) string {
	for _, d := range drifts() {
		if !strings.EqualFold(d.header, header) || !strings.Contains(strings.ToLower(recorded), "/providers/"+strings.ToLower(d.provider)+"/") {
			continue
		}
		for _, pair := range [][2]string{{d.one, d.other}, {d.other, d.one}} {
			if strings.Contains(recorded, pair[0]) && strings.EqualFold(strings.Replace(recorded, pair[0], pair[1], 1), answered) {
				return d.reason
			}
		}
	}
	return ""
}
