package engine

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// States of sys/proc.h.
const (
	frozen = 4 // SSTOP
	zombie = 5 // SZOMB
)

// processes reads the table of what runs on this machine.
func processes() (map[int]process, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	table := make(map[int]process, len(all))
	for i := range all {
		p := fromKinfo(&all[i])
		table[p.pid] = p
	}
	return table, nil
}

func processByID(pid int) (process, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, err
	}
	return fromKinfo(k), nil
}

func fromKinfo(k *unix.KinfoProc) process {
	p := process{
		pid:    int(k.Proc.P_pid),
		parent: int(k.Eproc.Ppid),
		dead:   k.Proc.P_stat == zombie,
		frozen: k.Proc.P_stat == frozen,
		start:  fmt.Sprintf("%d.%06d", k.Proc.P_starttime.Sec, k.Proc.P_starttime.Usec),
	}
	p.session, _ = unix.Getsid(p.pid)
	return p
}

// environment is what a process was started with; macOS keeps back that of
// programs under its own protection, for which the records and the session must do.
func environment(pid int) []byte {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(data) < 4 {
		return nil
	}
	return bytes.TrimLeft(data[4:], "\x00")
}

// workingFolder can't be had without cgo here.
func workingFolder(int) string { return "" }

// bootID tells one start of the machine from another, for process ids mean nothing across it.
func bootID() string {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d", t.Sec)
}
