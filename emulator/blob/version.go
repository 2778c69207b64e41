package blob

import (
	"net/url"
	"time"
)

// The REST API versions (x-ms-version) that the service answers to. They are
// dates; one that falls between two releases is taken as the older.
const (
	oldestVersion = "2009-09-19"
	newestVersion = "2026-10-06"
	// defaultVersion is for requests that name none and carry no SAS.
	defaultVersion = "2018-03-28"
)

func validVersion(v string) bool {
	_, err := time.Parse("2006-01-02", v)
	return err == nil && v >= oldestVersion && v <= newestVersion
}

// requestVersion follows "Versioning for the Azure Storage services": the
// header, then a SAS's api-version and sv, then the default.
func requestVersion(header string, q url.Values) (string, error) {
	if header != "" {
		if !validVersion(header) {
			return defaultVersion, badHeader("x-ms-version", header)
		}
		return header, nil
	}
	for _, name := range []string{"api-version", "sv"} {
		if v := q.Get(name); v != "" && q.Has("sig") {
			if !validVersion(v) {
				return defaultVersion, badQuery(name, v, "The version is not one that the service supports.")
			}
			return v, nil
		}
	}
	return defaultVersion, nil
}

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// limit is the most bytes of a body by version; since is in descending order.
type limit struct {
	since string
	bytes int64
}

// The limits of Put Blob, Put Block and Append Block as their references give them.
var (
	putBlobLimits  = []limit{{"2019-12-12", 5000 * mib}, {"2016-05-31", 256 * mib}, {"", 64 * mib}}
	putBlockLimits = []limit{{"2019-12-12", 4000 * mib}, {"2016-05-31", 100 * mib}, {"", 4 * mib}}
	appendLimits   = []limit{{"2022-11-02", 100 * mib}, {"", 4 * mib}}
	putRangeLimits = []limit{{"", 4 * mib}}
)

func limitOf(limits []limit, version string) int64 {
	for _, l := range limits {
		if version >= l.since {
			return l.bytes
		}
	}
	return 0
}
