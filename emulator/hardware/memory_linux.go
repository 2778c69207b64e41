package hardware

import "golang.org/x/sys/unix"

func memoryMB() int {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return int(uint64(i.Totalram) * uint64(i.Unit) >> 20)
}
