package arm

import "regexp"

// Versions is an inclusive range of api-versions; an empty end is open.
// "-preview" sorts before the plain date.
type Versions struct {
	From, To string
	// Known are the versions that errors and the list of providers name, newest
	// first; any other date in the range is taken all the same. Empty: the range's ends.
	Known []string
}

// Contains reports whether the version is in the range.
func (v Versions) Contains(version string) bool {
	return (v.From == "" || CompareVersions(version, v.From) >= 0) && (v.To == "" || CompareVersions(version, v.To) <= 0)
}

func (v Versions) list() []string {
	if len(v.Known) > 0 {
		return v.Known
	}
	var out []string
	if v.To != "" {
		out = append(out, v.To)
	}
	if v.From != "" && v.From != v.To {
		out = append(out, v.From)
	}
	return out
}

var versionFormat = regexp.MustCompile(`(?i)^\d{4}-\d{2}-\d{2}(-[a-z][a-z0-9.-]*)?$`)

// CompareVersions orders two api-versions: by date, and a preview before the plain date.
func CompareVersions(a, b string) int {
	dateA, suffixA := splitVersion(a)
	dateB, suffixB := splitVersion(b)
	switch {
	case dateA != dateB:
		if dateA < dateB {
			return -1
		}
		return 1
	case suffixA == suffixB:
		return 0
	case suffixB == "" || suffixA != "" && suffixA < suffixB:
		return -1
	}
	return 1
}

func splitVersion(v string) (date, suffix string) {
	if len(v) <= 10 {
		return v, ""
	}
	return v[:10], fold(v[10:])
}

// coreVersions are those of Microsoft.Resources that its errors name; later ones are taken too.
var coreVersions = Versions{From: "2014-01-01", Known: []string{"2018-05-01", "2018-02-01", "2018-01-01", "2017-12-01", "2017-08-01", "2017-06-01",
	"2017-05-10", "2017-05-01", "2017-03-01", "2016-09-01", "2016-07-01", "2016-06-01", "2016-02-01", "2015-11-01", "2015-01-01", "2014-04-01-preview", "2014-04-01", "2014-01-01"}}
