package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// States of AsyncOperationStatus, and of an image's creation.
const (
	notStarted = "NotStarted"
	running    = "Running"
	succeeded  = "Succeeded"
	failed     = "Failed"
	timedOut   = "TimedOut"
	cancelled  = "Cancelled"
)

func terminal(state string) bool { return state != notStarted && state != running }

// What an operation does, in the words of operationDetails.
const (
	buildImage    = "BuildImage"
	deployService = "DeployService"
)

// operation is the record of one.
type operation struct {
	ID        string          `json:"id"`
	Workspace plane.Workspace `json:"workspace"`
	State     string          `json:"state"`
	// Steps are what is to be done, first to last; Step is the one that is under way.
	Steps []string  `json:"steps"`
	Step  int       `json:"step"`
	Image string    `json:"image,omitempty"` // id of the image to build
	Name  string    `json:"name,omitempty"`  // of the service to deploy
	Begun time.Time `json:"begun"`           // of the step
	// Ordered says that the step's container group may have been asked for.
	Ordered bool       `json:"ordered"`
	Created time.Time  `json:"created"`
	Ended   time.Time  `json:"ended"`
	Error   *mms.Error `json:"error,omitempty"`
}

func newOperation(ws plane.Workspace, now time.Time, steps ...string) operation {
	return operation{ID: uuid.NewString(), Workspace: ws, State: notStarted, Steps: steps, Created: now}
}

func (o operation) key() string { return key(o.Workspace, kindOperation, o.ID) }

// operationDto is AsyncOperationStatus of modelManagement.json, 2019-08-01.
type operationDto struct {
	ID               string           `json:"id"`
	OperationType    string           `json:"operationType"`
	State            string           `json:"state"`
	CreatedTime      string           `json:"createdTime"`
	EndTime          string           `json:"endTime,omitempty"`
	Error            *mms.Error       `json:"error,omitempty"`
	ResourceLocation string           `json:"resourceLocation"`
	OperationLog     string           `json:"operationLog,omitempty"`
	OperationDetails operationDetails `json:"operationDetails"`
}

type operationDetails struct {
	OperationID       string `json:"operationId"`
	SubOperationType  string `json:"subOperationType"`
	SubOperationState string `json:"subOperationState"`
}

func (s *Service) getOperation(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	op, _, err := store.Read[operation](r.Context(), s.cfg.Store, key(c.Workspace, kindOperation, strings.ToLower(c.Vars["id"])))
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusNotFound, "OperationNotFound", "id", "The operation with id '%s' was not found.", c.Vars["id"])
	}
	if err != nil {
		return err
	}
	out := operationDto{ID: op.ID, OperationType: "Image", State: op.State, CreatedTime: plane.WireTime(op.Created), Error: op.Error,
		ResourceLocation: "/api" + c.Workspace.ID() + "/images/" + op.Image,
		OperationDetails: operationDetails{OperationID: op.ID, SubOperationType: op.Steps[min(op.Step, len(op.Steps)-1)], SubOperationState: op.State}}
	if op.Name != "" {
		out.OperationType, out.ResourceLocation = "Service", "/api"+c.Workspace.ID()+"/services/"+op.Name
	}
	if !op.Ended.IsZero() {
		out.EndTime = plane.WireTime(op.Ended)
	}
	if op.Image != "" {
		if out.OperationLog, err = s.logURL(r.Context(), c.Workspace, op.Image); err != nil {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// accepted answers 202: the SDKs look the operation up by the last segment of Operation-Location.
func accepted(w http.ResponseWriter, c *plane.Call, op operation, body any) error {
	w.Header().Set("Operation-Location", c.Base+"/api"+c.Workspace.ID()+"/operations/"+op.ID)
	plane.WriteJSON(w, http.StatusAccepted, body)
	return nil
}

// worker is the goroutine of one operation.
type worker struct {
	stop context.CancelFunc
	done chan struct{}
}

// work has the operation at k carried on, unless it is already, or the service is not open: then the next Open does.
func (s *Service) work(k string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open || s.working[k] != nil {
		return
	}
	ctx, stop := context.WithCancel(s.ctx)
	wk := &worker{stop, make(chan struct{})}
	s.working[k] = wk
	s.wg.Go(func() {
		defer close(wk.done)
		defer stop()
		s.carryOn(ctx, k)
		s.mu.Lock()
		delete(s.working, k)
		s.mu.Unlock()
	})
}

// halt ends the worker of an operation, and waits until it has.
func (s *Service) halt(ctx context.Context, k string) error {
	s.mu.Lock()
	wk := s.working[k]
	s.mu.Unlock()
	if wk == nil {
		return nil
	}
	wk.stop()
	select {
	case <-wk.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cancel ends an operation that is not terminal, and removes the group that builds for it.
func (s *Service) cancel(ctx context.Context, k string) error {
	if err := s.halt(ctx, k); err != nil {
		return err
	}
	op, _, err := store.Read[operation](ctx, s.cfg.Store, k)
	if errors.Is(err, store.ErrNotFound) || err == nil && terminal(op.State) {
		return nil
	}
	if err != nil {
		return err
	}
	if op.Steps[op.Step] == buildImage && op.Ordered {
		if err := s.deleteGroup(ctx, op.Workspace, buildGroup(op)); err != nil {
			return err
		}
	}
	return s.finish(ctx, op, cancelled, nil)
}

// carryOn does what remains of an operation. What passes (a resource manager
// that does not answer) is tried again; what fails ends it.
func (s *Service) carryOn(ctx context.Context, k string) {
	for ctx.Err() == nil {
		op, _, err := store.Read[operation](ctx, s.cfg.Store, k)
		if errors.Is(err, store.ErrNotFound) || err == nil && terminal(op.State) {
			return
		}
		if err == nil {
			err = s.step(ctx, &op)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("serving: an operation is tried again", "operation", op.ID, "err", err)
			s.pause(ctx)
		}
	}
}

// failure is an error that ends an operation.
type failure struct {
	state string // failed or timedOut
	cause mms.Error
}

func (f *failure) Error() string { return f.cause.Code + ": " + f.cause.Message }

func fail(code string, details []mms.Detail, format string, args ...any) *failure {
	if details == nil {
		details = []mms.Detail{}
	}
	return &failure{failed, mms.Error{Code: code, StatusCode: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), Details: details}}
}

func (s *Service) step(ctx context.Context, op *operation) error {
	if op.State == notStarted || op.Begun.IsZero() {
		op.State, op.Begun, op.Ordered = running, s.cfg.Clock.Now(), false
		if err := s.save(ctx, *op); err != nil {
			return err
		}
	}
	var err error
	switch op.Steps[op.Step] {
	case buildImage:
		err = s.build(ctx, op)
	case deployService:
		err = s.deploy(ctx, op)
	}
	var f *failure
	switch {
	case errors.As(err, &f):
		return s.finish(ctx, *op, f.state, &f.cause)
	case err != nil:
		return err
	case op.Step+1 < len(op.Steps):
		op.Step++
		op.Begun, op.Ordered = time.Time{}, false
		return s.save(ctx, *op)
	}
	return s.finish(ctx, *op, succeeded, nil)
}

// save writes the record of an operation, whose only writer its worker is.
func (s *Service) save(ctx context.Context, op operation) error {
	_, err := store.Write(ctx, s.cfg.Store, op.key(), op, store.Any)
	return err
}

// finish writes the operation's end, and what it means for the image and the service, together.
func (s *Service) finish(ctx context.Context, op operation, state string, cause *mms.Error) error {
	for {
		op.State, op.Error, op.Ended = state, cause, s.cfg.Clock.Now()
		put, err := store.PutOp(op.key(), op, store.Any)
		if err != nil {
			return err
		}
		ops := []store.Op{put}
		if op.Image != "" {
			img, rev, err := store.Read[image](ctx, s.cfg.Store, imageKey(op.Workspace, op.Image))
			if err == nil && !terminal(img.State) {
				img.State, img.Error, img.Modified = state, cause, op.Ended
				if put, err = store.PutOp(imageKey(op.Workspace, op.Image), img, rev); err == nil {
					ops = append(ops, put)
				}
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		if op.Name != "" {
			k := key(op.Workspace, kindService, op.Name)
			v, rev, err := store.Read[service](ctx, s.cfg.Store, k)
			if err == nil {
				v.settle(state, cause, op.Ended)
				if put, err = store.PutOp(k, v, rev); err == nil {
					ops = append(ops, put)
				}
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		if _, err = s.cfg.Store.Batch(ctx, ops); !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
}

// pause waits for the next look at what is under way.
func (s *Service) pause(ctx context.Context) {
	t := s.cfg.Clock.NewTimer(s.cfg.Poll)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

// overdue says that a step took too long.
func (s *Service) overdue(op *operation) error {
	if s.cfg.Clock.Since(op.Begun) < s.cfg.Patience {
		return nil
	}
	f := fail("OperationTimedOut", nil, "The operation was not done after %s.", s.cfg.Patience)
	f.state = timedOut
	return f
}
