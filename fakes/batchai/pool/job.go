package pool

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Job is what is submitted: JobCreateParameters of Batch AI 2018-05-01. It never changes.
type Job struct {
	// ID is the caller's own name of it, unique in the Pool; of the form of a Cluster's.
	ID       string
	Cluster  string
	Priority Priority
	Nodes    int // gang scheduled
	Toolkit  Toolkit
	// Container to run in; nil: on the node itself.
	Container *Container `json:",omitempty"`
	// Preparation runs on each node before the toolkit is launched; empty: none.
	Preparation string `json:",omitempty"`
	// StdOutErrPathPrefix and Segment make $AZ_BATCHAI_STDOUTERR_DIR, PREFIX/SEGMENT/stdouterr;
	// outputs are PREFIX/SEGMENT/outputs/SUFFIX.
	StdOutErrPathPrefix string
	Segment             string
	Inputs              []Input       `json:",omitempty"`
	Outputs             []Output      `json:",omitempty"`
	Volumes             []Volume      `json:",omitempty"`
	Variables           []Variable    `json:",omitempty"`
	MaxWallClockTime    time.Duration `json:",omitempty"` // 0: a week
}

// Priority is schedulingPriority of Batch AI 2018-05-01; empty: normal.
type Priority string

// The priorities.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

func (p Priority) rank() int {
	switch p {
	case Low:
		return 2
	case High:
		return 0
	}
	return 1
}

// Container is containerSettings of Batch AI 2018-05-01. An image of a private
// registry is pulled before, by who has its credentials.
type Container struct {
	Image   string
	SHMSize string `json:",omitempty"`
}

// Input is inputDirectories' element.
type Input struct{ ID, Path string }

// Output is outputDirectories' element.
type Output struct{ ID, PathPrefix, PathSuffix string }

// JobState is executionState of Batch AI 2018-05-01.
type JobState string

// The job states. They move forward, but for a job that is requeued.
const (
	JobQueued      JobState = "queued"
	JobRunning     JobState = "running"
	JobTerminating JobState = "terminating"
	JobSucceeded   JobState = "succeeded"
	JobFailed      JobState = "failed"
)

// JobStatus is a snapshot.
type JobStatus struct {
	ID, Cluster string
	State       JobState
	Since       time.Time // in State
	Submitted   time.Time
	Started     time.Time // of the last attempt; zero before
	Ended       time.Time
	ExitCode    *int // the process's own; nil if none was launched
	Errors      []Error
	// Attempts that were begun: more than one if it was requeued.
	Attempts int
	Nodes    []string // that it runs or ran on, its master first
	// Waiting says, in words, why a queued job does not start.
	Waiting string
	// Warnings of what is not as on Azure in the last attempt that began: no GPU where the size has some, say.
	Warnings []string `json:",omitempty"`
}

// Done says that the state is final.
func (s JobStatus) Done() bool { return s.State == JobSucceeded || s.State == JobFailed }

const week = 7 * 24 * time.Hour

func (j Job) check() error {
	if !idPattern.MatchString(j.ID) {
		return fmt.Errorf("%w: job id %q", ErrInvalid, j.ID)
	}
	if j.Nodes < 1 {
		return fmt.Errorf("%w: nodeCount is below 1", ErrInvalid)
	}
	switch j.Priority {
	case "", Low, Normal, High:
	default:
		return fmt.Errorf("%w: schedulingPriority %q", ErrInvalid, j.Priority)
	}
	if err := checkVolumes(j.Volumes); err != nil {
		return err
	}
	for _, o := range j.Outputs {
		if err := CheckPath(o.PathPrefix); err != nil {
			return fmt.Errorf("outputDirectories %s: pathPrefix: %w", o.ID, err)
		}
		if o.PathSuffix != "" && !filepath.IsLocal(o.PathSuffix) {
			return fmt.Errorf("%w: outputDirectories %s: pathSuffix %q leaves its folder", ErrInvalid, o.ID, o.PathSuffix)
		}
	}
	if err := CheckPath(j.StdOutErrPathPrefix); err != nil {
		return fmt.Errorf("stdOutErrPathPrefix: %w", err)
	}
	if j.Segment != "" && !filepath.IsLocal(j.Segment) {
		return fmt.Errorf("%w: segment %q", ErrInvalid, j.Segment)
	}
	return j.Toolkit.check(j.Nodes)
}

// roots are the variables that a path of outputs may begin with.
var roots = []string{"AZ_BATCHAI_MOUNT_ROOT", "AZ_BATCHAI_JOB_MOUNT_ROOT", "AZ_BATCHAI_JOB_TEMP_DIR", "AZ_BATCHAI_JOB_TEMP", "AZ_BATCHAI_SHARED_JOB_TEMP"}

// CheckPath says whether outputs may be written at a path: it begins with one of
// the folders that a job has, and does not leave it.
func CheckPath(p string) error {
	for _, r := range roots {
		for _, v := range []string{"$" + r, "${" + r + "}"} {
			rest, ok := strings.CutPrefix(p, v)
			if !ok || rest != "" && rest[0] != '/' {
				continue
			}
			if clean := path.Clean(strings.TrimLeft(rest, "/")); clean == ".." || strings.HasPrefix(clean, "../") || strings.Contains(rest, "$") {
				return fmt.Errorf("%w: path %q leaves $%s", ErrInvalid, p, r)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: path %q does not begin with $%s", ErrInvalid, p, strings.Join(roots, ", $"))
}

func checkVolumes(all []Volume) error {
	seen := map[string]bool{}
	for _, v := range all {
		clean := path.Clean(v.Path)
		if v.Path == "" || clean == "." || !filepath.IsLocal(v.Path) {
			return fmt.Errorf("%w: relativeMountPath %q", ErrInvalid, v.Path)
		}
		if seen[clean] {
			return fmt.Errorf("%w: relativeMountPath %q is there twice", ErrInvalid, v.Path)
		}
		seen[clean] = true
	}
	return nil
}
