// Package durable replaces files so that whoever reads one, at any moment and
// after any crash, finds the whole old content or the whole new one.
//
// It is for the small files that state, keys and settings are kept in beside
// the store. It is no database: two writers of one file do not wait for each
// other, the last one's content stays.
package durable

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile has data be what is in file, with that mode, and on the disk before
// it returns: it outlives the machine's power too. The folder must be there.
// After an error the file is as it was.
func WriteFile(file string, data []byte, mode fs.FileMode) error {
	return replace(file, mode, func(f *os.File) error {
		_, err := f.Write(data)
		return errors.Join(err, f.Sync())
	})
}

// Keep is WriteFile, but leaves a file that holds data already as it is: a
// container may have that very file mounted.
func Keep(file string, data []byte, mode fs.FileMode) error {
	if had, err := os.ReadFile(file); err == nil && bytes.Equal(had, data) {
		return nil
	}
	return WriteFile(file, data, mode)
}

// Replace has what write writes be what is in file, with that mode. It outlives
// the process, but is left to the system to put on the disk: for what is written
// often and can be lost with the machine's power. After an error, write's too,
// the file is as it was.
func Replace(file string, mode fs.FileMode, write func(io.Writer) error) error {
	return replace(file, mode, func(f *os.File) error { return write(f) })
}

func replace(file string, mode fs.FileMode, write func(*os.File) error) error {
	// In the same folder: a rename can't go from one file system to another.
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	if err := errors.Join(temp.Chmod(mode), write(temp), temp.Close()); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	if err := os.Rename(temp.Name(), file); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
