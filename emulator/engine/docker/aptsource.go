package docker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// machineSources reads the suite of this Debian or Ubuntu, and those lines of
// apt's sources that serve it: "deb MIRROR SUITE COMPONENTS".
func machineSources(release, apt string) (suite string, lines []string, err error) {
	data, err := os.ReadFile(release)
	if err != nil {
		return "", nil, fmt.Errorf("%w: from packages it takes a Debian or Ubuntu host: %w", ErrNoBuilder, err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			suite = strings.Trim(v, `"' `)
		}
	}
	if suite == "" {
		return "", nil, fmt.Errorf("%w: from packages it takes a Debian or Ubuntu host, and %s names no suite; build on an image instead: lazulite images build --base ubuntu:24.04", ErrNoBuilder, release)
	}
	files := []string{filepath.Join(apt, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, _ := filepath.Glob(filepath.Join(apt, "sources.list.d", pattern))
		slices.Sort(more)
		files = append(files, more...)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if strings.HasSuffix(f, ".sources") {
			lines = append(lines, stanzas(data, suite)...)
		} else {
			lines = append(lines, oneLiners(data, suite)...)
		}
	}
	if len(lines) == 0 {
		return "", nil, fmt.Errorf("%w: no source under %s has the suite %s", ErrNoBuilder, apt, suite)
	}
	return suite, lines, nil
}

// serves says whether a suite of apt's is one of the system itself: bookworm, bookworm-updates.
func serves(got, suite string) bool {
	switch strings.TrimPrefix(got, suite) {
	case "", "-updates", "-security":
		return strings.HasPrefix(got, suite)
	}
	return false
}

// oneLiners reads sources.list's format.
func oneLiners(data []byte, suite string) []string {
	var out []string
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			// Keys and architectures are found anew.
			if _, rest, ok = strings.Cut(rest, "]"); !ok {
				continue
			}
		}
		f := strings.Fields(rest)
		if len(f) >= 3 && serves(f[1], suite) {
			out = append(out, "deb "+strings.Join(f, " "))
		}
	}
	return out
}

// stanzas reads the format of RFC 822 that .sources files have.
func stanzas(data []byte, suite string) []string {
	var out []string
	field := map[string][]string{}
	last := ""
	end := func() {
		if slices.Contains(field["types"], "deb") && !slices.Contains(field["enabled"], "no") {
			for _, uri := range field["uris"] {
				for _, s := range field["suites"] {
					if serves(s, suite) && len(field["components"]) > 0 {
						out = append(out, "deb "+uri+" "+s+" "+strings.Join(field["components"], " "))
					}
				}
			}
		}
		field, last = map[string][]string{}, ""
	}
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			end()
		case line[0] == ' ' || line[0] == '\t':
			field[last] = append(field[last], strings.Fields(line)...)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			field[last] = append(field[last], strings.Fields(value)...)
		}
	}
	end()
	return out
}

// aptOptions are the host's own that decide whether a mirror is believed and how it is reached.
func aptOptions(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil
	}
	var options []string
	for _, line := range strings.Split(string(out), "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, ";"), " ")
		value = strings.Trim(value, `"`)
		if !ok || value == "" || strings.ContainsAny(value, ` "'`) {
			continue
		}
		switch name {
		case "Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy":
			options = append(options, "-o "+name+"="+value)
		}
	}
	return options
}
