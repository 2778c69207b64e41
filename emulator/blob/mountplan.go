package blob

import (
	"io/fs"
	"slices"
	"strings"
)

// step is one thing to do at a path.
type step struct {
	what string
	path string
}

// The words of steps, as errors say them.
const (
	drop     = "remove"   // from the folder
	erase    = "delete"   // from the container
	fetch    = "download" // into the folder
	send     = "upload"   // to the container
	remember = "remember" // a directory of both
	forget   = "forget"   // what is at neither
)

// plan decides what to do for the folder and the container to be the same, by
// how both are and how they were when they last were; rewritten are files that
// only their bytes show to be others. It is pure. What goes
// from the folder goes first and from below; then directories come before what is in them.
func plan(here map[string]fs.FileInfo, there map[string]remote, was map[string]agreed, rewritten map[string]bool) []step {
	paths := map[string]bool{}
	for p := range here {
		paths[p] = true
	}
	for p := range there {
		paths[p] = true
	}
	for p := range was {
		paths[p] = true
	}
	sorted := make([]string, 0, len(paths))
	for p := range paths {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(a, b string) int { return strings.Compare(deep(a), deep(b)) })
	full := map[string]bool{} // directories with something in them
	for p := range here {
		full[above(p)] = true
	}
	var drops, rest []step
	emptied := map[string]bool{} // directories of which the container has lost something
	for _, p := range slices.Backward(sorted) {
		local := here[p]
		far, isThere := there[p]
		old, isAgreed := was[p]
		what := decide(local, local != nil && isAgreed && old.is(local) && !rewritten[p], far, isThere, old, isAgreed)
		if what == send && local.IsDir() && !isThere {
			switch {
			case emptied[p] && isAgreed:
				what = drop
			case full[p] && isAgreed && old.Dir:
				what = ""
			case full[p]:
				what = remember
			}
		}
		switch what {
		case "":
		case drop:
			emptied[above(p)] = true
			drops = append(drops, step{drop, p})
			if isThere {
				rest = append(rest, step{fetch, p})
			}
		default:
			rest = append(rest, step{what, p})
		}
	}
	slices.Reverse(rest)
	return append(drops, rest...)
}

// decide is what one path by itself calls for; same says that the folder has what it had.
func decide(here fs.FileInfo, same bool, there remote, isThere bool, old agreed, isAgreed bool) string {
	sameThere := isThere && isAgreed && old.Dir == there.dir && (there.dir || old.ETag == there.etag)
	switch {
	case here == nil && !isThere:
		return forget
	case here == nil && sameThere:
		return erase
	case here == nil:
		return fetch
	case !isThere && same && old.Dir && old.ETag == "":
		return send // nothing stood for it: perhaps it must be made to
	case !isThere && same:
		return drop
	case !isThere:
		return send
	case here.IsDir() && there.dir:
		if isAgreed && old.Dir && old.ETag == there.etag {
			return ""
		}
		return remember
	case same && here.IsDir() != there.dir:
		return drop // and fetch
	case same && sameThere:
		return ""
	case same:
		return fetch
	}
	return send
}

// deep orders a directory before what is in it, and both before what follows by name.
func deep(path string) string { return strings.ReplaceAll(path, "/", "\x00") }

func above(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}
