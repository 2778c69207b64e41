package serving

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"crypto/tls"

	"github.com/google/uuid"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// serviceRequest is ACIServiceCreateRequest of modelManagement.json, 2019-08-01.
type serviceRequest struct {
	Name        string              `json:"name"`
	Description *string             `json:"description"`
	KvTags      mms.StringMap       `json:"kvTags"`
	Properties  mms.StringMap       `json:"properties"`
	ComputeType string              `json:"computeType"`
	ImageID     string              `json:"imageId"`
	Environment *environmentRequest `json:"environmentImageRequest"`
	Location    string              `json:"location"`
	Keys        keys                `json:"keys"`
	Resources   struct {
		CPU    *float64 `json:"cpu"`
		Memory *float64 `json:"memoryInGB"`
		GPU    *int     `json:"gpu"`
	} `json:"containerResourceRequirements"`
	AuthEnabled    bool   `json:"authEnabled"`
	SSLEnabled     bool   `json:"sslEnabled"`
	AppInsights    bool   `json:"appInsightsEnabled"`
	SSLCertificate string `json:"sslCertificate"`
	SSLKey         string `json:"sslKey"`
	CName          string `json:"cname"`
	DNSNameLabel   string `json:"dnsNameLabel"`
	Overwrite      bool   `json:"overwrite"`
	Vnet           *struct {
		Name string `json:"vnetName"`
	} `json:"vnetConfiguration"`
	Encryption *struct {
		Vault string `json:"vaultBaseUrl"`
	} `json:"encryptionProperties"`
}

// check refuses what cannot be deployed, before anything is.
func (s *Service) check(ctx context.Context, ws plane.Workspace, in *serviceRequest) error {
	bad := func(code, target, format string, args ...any) error {
		return mms.Fault(http.StatusBadRequest, code, target, format, args...)
	}
	switch {
	case !validName(in.Name, serviceNames):
		return bad("InvalidServiceName", "name", "The service name '%s' is not valid: it must be of 3 to 32 lowercase letters, digits and dashes, and start with a letter.", in.Name)
	case !strings.EqualFold(in.ComputeType, "ACI"):
		return bad("NotSupported", "computeType", "Services on '%s' are not emulated here: those on ACI are.", in.ComputeType)
	case in.Resources.GPU != nil && *in.Resources.GPU > 0:
		return bad("InvalidResourceRequirements", "containerResourceRequirements.gpu", "Services on ACI have no GPU.")
	case in.Vnet != nil && in.Vnet.Name != "":
		return bad("NotSupported", "vnetConfiguration", "Services in a virtual network are not emulated here.")
	case in.Encryption != nil && in.Encryption.Vault != "":
		return bad("NotSupported", "encryptionProperties", "Encryption with one's own key is not emulated here.")
	}
	for name, v := range map[string]*float64{"cpu": in.Resources.CPU, "memoryInGB": in.Resources.Memory} {
		if v != nil && *v <= 0 {
			return bad("InvalidResourceRequirements", "containerResourceRequirements."+name, "The value %v of '%s' must be positive.", *v, name)
		}
	}
	set := in.settings(ws)
	if err := set.checkSSL(); err != nil {
		return err
	}
	if in.Environment != nil {
		if in.ImageID != "" {
			return bad("EmptyOrInvalidPayload", "imageId", "A service is of an image, or of an environment, not of both.")
		}
		return s.checkEnvironment(ctx, ws, in.Environment)
	}
	return s.checkDeployable(ctx, ws, in.ImageID)
}

// checkDeployable wants an image that is built.
func (s *Service) checkDeployable(ctx context.Context, ws plane.Workspace, id string) error {
	if id == "" {
		return mms.Fault(http.StatusBadRequest, "MissingField", "imageId", "The service's 'imageId' is missing.")
	}
	i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(ws, id))
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusBadRequest, "ImageNotFound", "imageId", "The image with id '%s' was not found.", id)
	}
	if err == nil && i.State != succeeded {
		return mms.Fault(http.StatusBadRequest, "ImageNotReady", "imageId", "The image with id '%s' is in the state '%s': only one that was created successfully can be deployed.", id, i.State)
	}
	return err
}

func (in *serviceRequest) settings(ws plane.Workspace) settings {
	out := settings{CPU: defaultCPU, Memory: defaultMemory, Location: in.Location, AuthEnabled: in.AuthEnabled, SSLEnabled: in.SSLEnabled,
		AppInsights: in.AppInsights, SSLCertificate: in.SSLCertificate, SSLKey: in.SSLKey, CName: in.CName}
	if in.Resources.CPU != nil {
		out.CPU = *in.Resources.CPU
	}
	if in.Resources.Memory != nil {
		out.Memory = *in.Resources.Memory
	}
	if out.Location == "" {
		out.Location = ws.Location
	}
	return out
}

func (v settings) checkSSL() error {
	if !v.SSLEnabled {
		return nil
	}
	for name, value := range map[string]string{"sslCertificate": v.SSLCertificate, "sslKey": v.SSLKey, "cname": v.CName} {
		if value == "" {
			return mms.Fault(http.StatusBadRequest, "MissingField", name, "With SSL enabled, certificate, key and cname must be there: '%s' is missing.", name)
		}
	}
	if _, err := tls.X509KeyPair([]byte(v.SSLCertificate), []byte(v.SSLKey)); err != nil {
		return mms.Fault(http.StatusBadRequest, "InvalidSslCertificate", "sslCertificate", "The SSL certificate and its key cannot be used: %s.", err)
	}
	return nil
}

// taken is the refusal of a name that a service or a container group has.
func (s *Service) taken(ctx context.Context, ws plane.Workspace, name string) error {
	_, found, err := s.getGroup(ctx, ws, name)
	if err != nil {
		return err
	}
	if _, _, err = store.Read[service](ctx, s.cfg.Store, key(ws, kindService, name)); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if found || err == nil {
		return mms.Fault(http.StatusConflict, "ServiceExists", "", "Subscription %s already contains an ACI Container Group with name %s", ws.Subscription, name)
	}
	return nil
}

func (s *Service) createService(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in serviceRequest
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	ctx, ws := r.Context(), c.Workspace
	if err := s.check(ctx, ws, &in); err != nil {
		return err
	}
	k := key(ws, kindService, in.Name)
	old, _, err := store.Read[service](ctx, s.cfg.Store, k)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if in.Overwrite && err == nil {
		if err := s.remove(ctx, old); err != nil {
			return err
		}
	}
	if err := s.taken(ctx, ws, in.Name); err != nil {
		return err
	}
	v := service{Workspace: ws, settings: in.settings(ws), ImageID: in.ImageID, Label: in.DNSNameLabel, State: transitioning, Generation: uuid.NewString(), Keys: in.Keys,
		Entry: mms.Entry{ID: in.Name, Name: in.Name, Description: in.Description, KvTags: in.KvTags, Properties: in.Properties, Created: s.cfg.Clock.Now()}}
	v.Modified = v.Created
	if v.Label == "" {
		// A label starts with a letter.
		v.Label = "a" + uuid.NewString()[1:]
	}
	for _, value := range []*string{&v.Keys.Primary, &v.Keys.Secondary} {
		if *value == "" {
			if *value, err = s.newKey(); err != nil {
				return err
			}
		}
	}
	op, err := s.addService(ctx, v, in.Environment)
	if errors.Is(err, store.ErrConflict) {
		return s.taken(ctx, ws, in.Name)
	}
	if err != nil {
		return err
	}
	return accepted(w, c, op, nil)
}

// addService stores a new service with the operation that deploys it.
func (s *Service) addService(ctx context.Context, v service, env *environmentRequest) (operation, error) {
	k := key(v.Workspace, kindService, v.Name)
	if env == nil {
		op := newOperation(v.Workspace, v.Created, deployService)
		op.Name, v.OperationID = v.Name, op.ID
		order, err := store.PutOp(op.key(), op, store.Absent)
		if err != nil {
			return op, err
		}
		put, err := store.PutOp(k, v, store.Absent)
		if err != nil {
			return op, err
		}
		if _, err = s.cfg.Store.Batch(ctx, []store.Op{order, put}); err == nil {
			s.work(op.key())
		}
		return op, err
	}
	return s.addBuilt(ctx, v, env, store.Absent)
}

// addBuilt stores a service, new or changed, with an image of its own and the operation that builds and deploys it.
func (s *Service) addBuilt(ctx context.Context, v service, env *environmentRequest, rev int64) (operation, error) {
	i := image{imageRequest: env.imageRequest, Environment: env.Environment, Entry: mms.Entry{Name: v.Name}}
	_, op, err := s.addImage(ctx, v.Workspace, i, v.Name, func(i image, op operation) (store.Op, error) {
		v.ImageID, v.OperationID = i.ID, op.ID
		v.Served = append(v.Served, i.ID)
		return store.PutOp(key(v.Workspace, kindService, v.Name), v, rev)
	})
	return op, err
}

// validate is what SDK 1.x asks before it creates, updates or deletes; the answer holds the error that there would be.
func (s *Service) validate(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in struct {
		Type          string          `json:"type"`
		ServiceName   string          `json:"serviceName"`
		CreateRequest *serviceRequest `json:"createRequest"`
	}
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	var err error
	if in.CreateRequest != nil {
		if err = s.check(r.Context(), c.Workspace, in.CreateRequest); err == nil && !in.CreateRequest.Overwrite {
			err = s.taken(r.Context(), c.Workspace, in.ServiceName)
		}
	}
	return verdict(w, err)
}

// validateResource answers that there is room: a region's limits are the container group's business, which says so at the deployment.
func (s *Service) validateResource(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	var in serviceRequest
	if err := mms.ReadPayload(w, r, &in); err != nil {
		return err
	}
	return verdict(w, s.check(r.Context(), c.Workspace, &in))
}

func (s *Service) validateName(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return verdict(w, s.taken(r.Context(), c.Workspace, c.Vars["name"]))
}

// verdict answers 200 with the refusal in it, if there is one.
func verdict(w http.ResponseWriter, err error) error {
	var e *plane.Error
	if err != nil && !errors.As(err, &e) {
		return err
	}
	out := map[string]any{}
	if e != nil {
		out["error"] = map[string]string{"code": e.Inner, "message": e.Message}
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// newKey makes a key of a service.
func (s *Service) newKey() (string, error) {
	b := make([]byte, 24)
	if _, err := io.ReadFull(s.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("serving: a key: %w", err)
	}
	// Letters and digits alone, as the service's were.
	return strings.NewReplacer("+", "a", "/", "b").Replace(base64.StdEncoding.EncodeToString(b)), nil
}
