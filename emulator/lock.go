package emulator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrLocked says that another emulator has the folder open.
var ErrLocked = errors.New("emulator: the data folder is in use by another lazulite")

// How long a lock may outlive its holder: a process that was being forked when
// the holder was killed has the lock's file until its exec.
const (
	lockLinger = 5 * time.Second
	lockLook   = 5 * time.Millisecond
)

// lockDir takes the folder for this process; the kernel frees it when the
// process ends, however it ends. Its file tells who has it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("%w: %s", err, dir)
		}
		return nil, fmt.Errorf("emulator: lock %s: %w", dir, err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid()))); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("emulator: %w", err)
	}
	return f, nil
}

func lock(f *os.File) error {
	for deadline := time.Now().Add(lockLinger); ; time.Sleep(lockLook) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if pid := holder(f); pid == 0 || living(pid) || time.Now().After(deadline) {
			return ErrLocked
		}
	}
}

// holder is the process that last took the lock; 0: unknown.
func holder(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

func living(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
