package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// change writes a service changed by f, with an operation that deploys it
// where f gave it another generation, and that has ended where it did not.
func (s *Service) change(ctx context.Context, c *plane.Call, f func(v *service) error) (operation, error) {
	for {
		v, rev, err := s.find(ctx, c)
		if err != nil {
			return operation{}, err
		}
		if err := busy(v); err != nil {
			return operation{}, err
		}
		before := v.Generation
		if err := f(&v); err != nil {
			return operation{}, err
		}
		v.Modified = s.cfg.Clock.Now()
		op := newOperation(c.Workspace, v.Modified, deployService)
		op.Name = v.Name
		var ops []store.Op
		if v.Generation != before {
			ops, err = redeploy(&v, op, rev)
		} else {
			op.State, op.Ended = succeeded, v.Modified
			var order, put store.Op
			if order, err = store.PutOp(op.key(), op, store.Absent); err == nil {
				put, err = store.PutOp(key(v.Workspace, kindService, v.Name), v, rev)
			}
			ops = []store.Op{order, put}
		}
		if err != nil {
			return operation{}, err
		}
		if _, err = s.cfg.Store.Batch(ctx, ops); errors.Is(err, store.ErrConflict) {
			continue
		}
		if err == nil && !terminal(op.State) {
			s.work(op.key())
		}
		return op, err
	}
}

// patchService changes tags and texts at once, and deploys again for all else.
func (s *Service) patchService(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var ops []mms.PatchOp
	if err := mms.ReadPayload(w, r, &ops); err != nil {
		return err
	}
	ctx := r.Context()
	isOf := func(p mms.PatchOp) bool { return strings.EqualFold(p.Path, "/environmentImageRequest") }
	if k := slices.IndexFunc(ops, isOf); k >= 0 {
		env := ops[k] // DeleteFunc clears what it leaves behind
		return s.patchEnvironment(w, r, c, env, slices.DeleteFunc(ops, isOf))
	}
	op, err := s.change(ctx, c, func(v *service) error { return s.patch(ctx, v, ops) })
	if err != nil {
		return err
	}
	if !terminal(op.State) {
		return accepted(w, c, op, nil)
	}
	v, _, err := s.find(ctx, c)
	if err != nil {
		return err
	}
	return s.answerService(w, r, v)
}

// patchEnvironment builds what SDK 1.x wants the service to be from now on.
func (s *Service) patchEnvironment(w http.ResponseWriter, r *http.Request, c *plane.Call, p mms.PatchOp, rest []mms.PatchOp) error {
	ctx := r.Context()
	var env environmentRequest
	if err := json.Unmarshal(p.Value, &env); err != nil {
		return mms.BadPatch("value", "the value of '%s' does not fit: %s.", p.Path, err)
	}
	if err := s.checkEnvironment(ctx, c.Workspace, &env); err != nil {
		return err
	}
	for {
		v, rev, err := s.find(ctx, c)
		if err != nil {
			return err
		}
		if err := busy(v); err != nil {
			return err
		}
		if err := s.patch(ctx, &v, rest); err != nil {
			return err
		}
		v.Modified, v.State, v.Generation = s.cfg.Clock.Now(), transitioning, uuid.NewString()
		op, err := s.addBuilt(ctx, v, &env, rev)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		return accepted(w, c, op, nil)
	}
}

// patch applies a JSON patch to a service.
func (s *Service) patch(ctx context.Context, v *service, ops []mms.PatchOp) error {
	var rest []mms.PatchOp
	old := v.settings
	imageID := v.ImageID
	for _, op := range ops {
		to := map[string]any{"/imageid": &v.ImageID, "/authenabled": &v.AuthEnabled, "/sslenabled": &v.SSLEnabled, "/appinsightsenabled": &v.AppInsights,
			"/sslcertificate": &v.SSLCertificate, "/sslkey": &v.SSLKey, "/cname": &v.CName}[strings.ToLower(op.Path)]
		if to == nil {
			rest = append(rest, op)
			continue
		}
		if verb := strings.ToLower(op.Op); verb != "add" && verb != "replace" {
			return mms.BadPatch("op", "the operation '%s' is not supported for '%s'; it must be add or replace.", op.Op, op.Path)
		}
		if err := json.Unmarshal(op.Value, to); err != nil {
			return mms.BadPatch("value", "the value of '%s' does not fit.", op.Path)
		}
	}
	if v.ImageID != imageID {
		if err := s.checkDeployable(ctx, v.Workspace, v.ImageID); err != nil {
			return err
		}
	}
	if err := v.checkSSL(); err != nil {
		return err
	}
	e, err := v.Entry.Patch(rest)
	if err != nil {
		return err
	}
	v.Entry = e
	if v.settings != old || v.ImageID != imageID {
		v.Generation = uuid.NewString()
	}
	return nil
}
