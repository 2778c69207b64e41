package execution

import (
	"context"
	"fmt"
	"io"

	"lazulite.dev/emulator/aml/plane"
)

// Driver has runs done on one kind of target. Its calls may be repeated: a
// Submit of what is started already only finds it.
type Driver interface {
	// Submit brings the job to its target and starts it there, detached. It
	// calls j.Save with the handle before anything is started, so that a crash leaves no run unfindable.
	Submit(ctx context.Context, j Job) (Handle, error)
	// Resume starts a submitted job if it has never started: a crash may have come between.
	Resume(ctx context.Context, j Job, h Handle) error
	// Status reports each change of the job's state, and returns nil after one
	// that is final. An error means that the target is out of reach, not that the job is.
	Status(ctx context.Context, j Job, h Handle, report func(Status)) error
	// Cancel has the job end: gently, then by force. When it returns nil, nothing of it is left running.
	Cancel(ctx context.Context, j Job, h Handle) error
	// Logs brings each log file of the job home, by j.Log.
	Logs(ctx context.Context, j Job, h Handle) error
	// Release drops what is held for the job here, and with finished what must not
	// outlive it where it ran: secrets, and what was ordered for it alone.
	Release(ctx context.Context, j Job, h Handle, finished bool) error
}

// Job is one remote run as a Driver gets it.
type Job struct {
	Workspace  plane.Workspace
	Experiment string
	RunID      string
	Target     target
	// Project is the path of the project's zip.
	Project string
	// Config is the run's configuration; nil where it could not be read again.
	Config *configuration
	// Invocation makes the control scripts' files, for a run that reaches the emulator through proxy.
	Invocation func(ctx context.Context, proxy string) (*invocation, error)
	Save       func(Handle) error
	// Log makes an artifact of a log file (a path such as azureml-logs/60_control_log.txt), in the place of what has its path.
	Log func(ctx context.Context, path string, r io.Reader) error
	// Warn tells in the run's details what was done otherwise than asked, or happened to it.
	Warn func(ctx context.Context, message string)
}

// Handle finds a started job again.
type Handle struct {
	// ProxyPort is the port on the machine's loopback that leads to the emulator; 0: none.
	ProxyPort int `json:"proxyPort"`
	// Order is the ARM id of what was ordered for the job; empty: it runs on a machine with SSH.
	Order string `json:"order,omitempty"`
	// Placed says that the resource manager took the order: if it is gone now, it was taken away.
	Placed bool `json:"placed,omitempty"`
}

// Status of a job, as its control script wrote it or, Inferred, as its target tells it.
type Status struct {
	// Phase is queued, preparing, running, ended, or gone: the job is no more, and left no result.
	Phase  string
	Result string // of an ended job: Completed, Failed or Canceled
	Error  *StatusError
	// LogsSent says that all logs of an ended job are artifacts.
	LogsSent bool
	// Inferred results stand behind those that the run itself reported.
	Inferred bool
	// Said is what a job that is gone printed last, or why one is queued.
	Said string
}

// StatusError is why a job failed.
type StatusError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Reason classifies a ConnectError.
type Reason string

// The reasons why a target cannot be used.
const (
	Unreachable    Reason = "Unreachable"
	LoginRefused   Reason = "LoginRefused"
	BadKey         Reason = "BadKey"
	HostKeyChanged Reason = "HostKeyChanged"
	NotLinux       Reason = "NotLinux"
	NoPython       Reason = "NoPython"
	NoForwarding   Reason = "NoForwarding"
	// Refused: the target answered that it won't run the job.
	Refused Reason = "Refused"
)

// ConnectError says why a target cannot be used. Its text is fit for the user and holds no secret.
type ConnectError struct {
	Reason  Reason
	Message string
}

// Error implements error.
func (e *ConnectError) Error() string { return e.Message }

// Temporary reports whether another try may go better.
func (e *ConnectError) Temporary() bool { return e.Reason == Unreachable }

func connectError(r Reason, format string, args ...any) *ConnectError {
	return &ConnectError{Reason: r, Message: fmt.Sprintf(format, args...)}
}
