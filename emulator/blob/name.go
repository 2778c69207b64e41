package blob

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

var containerName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`) })

// checkContainerName holds the rules of "Naming and referencing containers,
// blobs, and metadata"; shares have the same.
func checkContainerName(name string) error {
	switch name {
	case "$root", "$logs", "$web":
		return nil
	}
	if len(name) < 3 || len(name) > 63 {
		e := fail("OutOfRangeInput")
		e.Message = "The specified resource name length is not within the permissible limits."
		return e
	}
	if !containerName().MatchString(name) {
		return fail("InvalidResourceName")
	}
	return nil
}

// checkBlobName allows any text of 1 to 1,024 UTF-16 units in at most 254
// segments. NUL and U+10FFFF are refused: the order of keys needs them.
func checkBlobName(name string) error {
	if name == "" || len(utf16.Encode([]rune(name))) > 1024 || strings.Count(strings.TrimRight(name, "/"), "/") > 253 {
		e := fail("OutOfRangeInput")
		e.Message = "The specified resource name length is not within the permissible limits."
		return e
	}
	if !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\U0010FFFF") {
		return fail("InvalidUri")
	}
	return nil
}

// checkFilePath holds the File service's rules: 255 characters a component, none of \ : | < > * ? or control characters.
func checkFilePath(path string) error {
	if len(utf16.Encode([]rune(path))) > 2048 {
		return fail("OutOfRangeInput")
	}
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == "." || part == ".." || !utf8.ValidString(part):
			return fail("InvalidUri")
		case len(utf16.Encode([]rune(part))) > 255:
			return fail("OutOfRangeInput")
		case strings.ContainsFunc(part, func(r rune) bool {
			return r < 0x20 || r == 0x7f || r == 0x10FFFF || strings.ContainsRune(`"\:|<>*?`, r)
		}):
			return fail("InvalidResourceName")
		}
	}
	return nil
}
