package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// processes reads the table of what runs on this machine.
func processes() (map[int]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	table := make(map[int]process, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := processByID(pid); err == nil {
			table[pid] = p
		}
	}
	return table, nil
}

func processByID(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The command's name may hold blanks and brackets: what follows is after the last one.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return process{}, errors.New("engine: odd stat of a process")
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 20 {
		return process{}, errors.New("engine: short stat of a process")
	}
	p := process{pid: pid, dead: f[0] == "Z" || f[0] == "X", frozen: f[0] == "T" || f[0] == "t", start: f[19]}
	p.parent, _ = strconv.Atoi(f[1])
	p.session, _ = strconv.Atoi(f[3])
	return p, nil
}

// environment is what a process was started with, nil if it may not be seen.
func environment(pid int) []byte {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil
	}
	return data
}

// workingFolder of a process, empty if it may not be seen.
func workingFolder(pid int) string {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return ""
	}
	return dir
}

// bootID tells one start of the machine from another, for process ids mean nothing across it.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
