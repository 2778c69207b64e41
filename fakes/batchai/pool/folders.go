package pool

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// folders of a job on one node: where the job sees them, and where they are on this host.
type folders struct {
	root       string // LS_root as the job sees it
	host       string // and as this host does
	sharedHost string // of the shared temporary folders
	shared     []mountedVolume
	own        []mountedVolume
	job        string
}

// variables are the documented ones that name folders.
func (f folders) variables() [][2]string {
	jobs := path.Join(f.root, "jobs")
	return [][2]string{
		{"AZ_BATCHAI_MOUNT_ROOT", path.Join(f.root, "mounts")},
		{"AZ_BATCHAI_JOB_TEMP_DIR", jobs},
		{"AZ_BATCHAI_JOB_TEMP", path.Join(jobs, f.job)},
		{"AZ_BATCHAI_JOB_MOUNT_ROOT", path.Join(jobs, f.job, "mounts")},
		{"AZ_BATCHAI_SHARED_JOB_TEMP", path.Join(f.root, "shared", f.job)},
	}
}

// inside is a path as the job sees it.
func (f folders) inside(p string) string {
	return path.Clean(os.Expand(p, func(name string) string {
		for _, v := range f.variables() {
			if v[0] == name {
				return v[1]
			}
		}
		return ""
	}))
}

// onHost is a path that begins with one of the variables, on this host.
func (f folders) onHost(p string) string {
	name, rest, _ := strings.Cut(strings.TrimPrefix(p, "$"), "/")
	name = strings.Trim(name, "{}")
	temp := filepath.Join(f.host, "jobs")
	switch name {
	case "AZ_BATCHAI_MOUNT_ROOT":
		return below(f.shared, filepath.Join(f.host, "mounts"), rest)
	case "AZ_BATCHAI_JOB_MOUNT_ROOT":
		return below(f.own, filepath.Join(temp, f.job, "mounts"), rest)
	case "AZ_BATCHAI_JOB_TEMP_DIR":
		return filepath.Join(temp, rest)
	case "AZ_BATCHAI_SHARED_JOB_TEMP":
		return filepath.Join(f.sharedHost, f.job, rest)
	}
	return filepath.Join(temp, f.job, rest)
}

// stdOutErr is the path of the job's standard output, with its variable.
func (j Job) stdOutErr() string { return path.Join(j.StdOutErrPathPrefix, j.Segment, "stdouterr") }

// path of an output folder, with its variable.
func (o Output) path(segment string) string {
	return path.Join(o.PathPrefix, segment, "outputs", o.PathSuffix)
}
