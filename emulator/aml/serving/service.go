package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/execution"
	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// States of a service.
const (
	transitioning = "Transitioning"
	healthy       = "Healthy"
	unhealthy     = "Unhealthy"
)

// Defaults of containerResourceRequirements.
const (
	defaultCPU    = 0.1
	defaultMemory = 0.5
)

// service is the record of one.
type service struct {
	mms.Entry
	Workspace plane.Workspace `json:"workspace"`
	settings
	ImageID string     `json:"imageId"`
	Label   string     `json:"label"` // DNS label
	State   string     `json:"state"`
	Error   *mms.Error `json:"error,omitempty"`
	// Address is where its group is reached, once it is.
	Address string `json:"address,omitempty"`
	FQDN    string `json:"fqdn,omitempty"`
	Keys    keys   `json:"keys"`
	// Generation changes with each deployment: what answers says which it is of.
	Generation  string `json:"generation"`
	OperationID string `json:"operationId"`
	// Served are images that SDK 1.x's environments were built into for this service alone.
	Served   []string `json:"served,omitempty"`
	Deleting bool     `json:"deleting,omitempty"`
}

// settings are what of a service needs another deployment when it changes.
type settings struct {
	CPU            float64 `json:"cpu"`
	Memory         float64 `json:"memoryInGB"`
	Location       string  `json:"location"`
	AuthEnabled    bool    `json:"authEnabled"`
	SSLEnabled     bool    `json:"sslEnabled"`
	AppInsights    bool    `json:"appInsightsEnabled"`
	SSLCertificate string  `json:"sslCertificate,omitempty"`
	SSLKey         string  `json:"sslKey,omitempty"`
	CName          string  `json:"cname,omitempty"`
}

// settle is what the end of an operation means.
func (v *service) settle(state string, cause *mms.Error, now time.Time) {
	v.Modified = now
	switch state {
	case succeeded:
		v.State, v.Error = healthy, nil
	case cancelled:
	default:
		v.State, v.Error = strings.Replace(state, timedOut, failed, 1), cause
	}
}

// serviceDto is ACIServiceResponse of modelManagement.json, 2019-08-01. The SDKs want every key to be there.
type serviceDto struct {
	ID                 string        `json:"id"`
	Name               string        `json:"name"`
	Description        *string       `json:"description"`
	KvTags             mms.StringMap `json:"kvTags"`
	Properties         mms.StringMap `json:"properties"`
	OperationID        string        `json:"operationId"`
	State              string        `json:"state"`
	CreatedTime        string        `json:"createdTime"`
	UpdatedTime        string        `json:"updatedTime"`
	Error              *mms.Error    `json:"error,omitempty"`
	ComputeType        string        `json:"computeType"`
	DeploymentType     string        `json:"deploymentType"`
	Resources          resources     `json:"containerResourceRequirements"`
	ImageID            string        `json:"imageId"`
	ImageDetails       *imageDto     `json:"imageDetails,omitempty"`
	ScoringURI         *string       `json:"scoringUri"`
	SwaggerURI         *string       `json:"swaggerUri"`
	Location           string        `json:"location"`
	AuthEnabled        bool          `json:"authEnabled"`
	SSLEnabled         bool          `json:"sslEnabled"`
	AppInsightsEnabled bool          `json:"appInsightsEnabled"`
	SSLCertificate     *string       `json:"sslCertificate"`
	// The key is never shown.
	SSLKey             *string             `json:"sslKey"`
	CName              *string             `json:"cname"`
	PublicIP           *string             `json:"publicIp"`
	PublicFQDN         *string             `json:"publicFqdn"`
	Models             []any               `json:"models"`
	ModelConfigMap     map[string]any      `json:"modelConfigMap"`
	EnvironmentRequest *environmentDetails `json:"environmentImageRequest,omitempty"`
	Environment        json.RawMessage     `json:"environment,omitempty"`
}

// environmentDetails is what SDK 1.x reads its environment back from.
type environmentDetails struct {
	DriverProgram string          `json:"driverProgram"`
	Assets        []imageAsset    `json:"assets"`
	ModelIDs      []string        `json:"modelIds"`
	Models        []any           `json:"models"`
	Environment   json.RawMessage `json:"environment"`
}

// resources is ContainerResourceRequirements; SDK 1.x wants all of its keys.
type resources struct {
	CPU         float64  `json:"cpu"`
	CPULimit    *float64 `json:"cpuLimit"`
	Memory      float64  `json:"memoryInGB"`
	MemoryLimit *float64 `json:"memoryInGBLimit"`
	GPU         *int     `json:"gpu"`
}

func missingService(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mms.Fault(http.StatusNotFound, "ServiceNotFound", "name", "The service with name '%s' was not found.", name)
	}
	return err
}

// find reads a service that is not being deleted.
func (s *Service) find(ctx context.Context, c *plane.Call) (service, int64, error) {
	v, rev, err := store.Read[service](ctx, s.cfg.Store, key(c.Workspace, kindService, c.Vars["name"]))
	if err == nil && v.Deleting {
		err = store.ErrNotFound
	}
	return v, rev, missingService(c.Vars["name"], err)
}

// scoringURI is where the service is called; empty while it cannot be.
func (v service) scoringURI() string {
	switch {
	case v.Address == "":
		return ""
	case v.SSLEnabled:
		return "https://" + v.CName + ":" + strconv.Itoa(tlsPort) + "/score"
	case v.FQDN != "" && v.Served != nil:
		// SDK 1.x's services were called by name.
		return "http://" + v.FQDN + "/score"
	}
	return "http://" + v.Address + ":" + strconv.Itoa(port) + "/score"
}

// Address is where the service is reached whose SSL name this is, and empty if
// there is none: to have such a name in the DNS was the owner's business.
func (s *Service) Address(ctx context.Context, name string) (string, error) {
	docs, err := s.cfg.Store.List(ctx, root, "", 0)
	if err != nil {
		return "", err
	}
	for _, d := range docs {
		if kindOf(d.Key) != kindService {
			continue
		}
		v, err := store.Decode[service](d)
		if err != nil {
			return "", err
		}
		if v.SSLEnabled && v.Address != "" && !v.Deleting && strings.EqualFold(v.CName, name) {
			return v.Address, nil
		}
	}
	return "", nil
}

// ofTwenty18 reports whether a request is of the SDK of 2018, by its path. That
// one wants an image of every service; SDK 1.x takes a service that has one for
// one that no environment can update.
func ofTwenty18(r *http.Request) bool {
	return len(r.URL.Path) > 5 && strings.EqualFold(r.URL.Path[:5], "/api/")
}

func (s *Service) serviceWire(ctx context.Context, v service, twenty18 bool) (serviceDto, error) {
	some := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	out := serviceDto{ID: v.Name, Name: v.Name, Description: v.Description, KvTags: v.KvTags.Clone(), Properties: v.Properties.Clone(), OperationID: v.OperationID,
		State: v.State, CreatedTime: plane.WireTime(v.Created), UpdatedTime: plane.WireTime(v.Modified), Error: v.Error, ComputeType: "ACI",
		DeploymentType: "HttpRealtimeEndpoint", Resources: resources{CPU: v.CPU, Memory: v.Memory}, ImageID: v.ImageID, ScoringURI: some(v.scoringURI()),
		Location: v.Location, AuthEnabled: v.AuthEnabled, SSLEnabled: v.SSLEnabled, AppInsightsEnabled: v.AppInsights, SSLCertificate: some(v.SSLCertificate),
		CName: some(v.CName), PublicIP: some(v.Address), PublicFQDN: some(v.FQDN), Models: []any{}, ModelConfigMap: map[string]any{"config": map[string]any{}, "models": map[string]any{}}}
	if out.ScoringURI != nil {
		out.SwaggerURI = some(strings.TrimSuffix(*out.ScoringURI, "/score") + "/swagger.json")
	}
	i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(v.Workspace, v.ImageID))
	if errors.Is(err, store.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	details, err := s.imageWire(ctx, v.Workspace, i)
	if err != nil {
		return out, err
	}
	out.Models = details.ModelDetails
	if i.Environment == nil || twenty18 {
		out.ImageDetails = &details
	}
	if i.Environment != nil {
		out.Environment = i.Environment
		out.EnvironmentRequest = &environmentDetails{details.DriverProgram, details.Assets, details.ModelIDs, details.ModelDetails, i.Environment}
	}
	return out, nil
}

// observed is the service with the state that its group gives it now: one that was healthy may not be any more.
func (s *Service) observed(ctx context.Context, v service) (service, error) {
	if v.State != healthy {
		return v, nil
	}
	g, found, err := s.getGroup(ctx, v.Workspace, v.Name)
	if e := (*execution.ARMError)(nil); errors.As(err, &e) {
		s.log.Warn("serving: the group of a service cannot be looked at", "service", v.Name, "err", err)
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if state := g.container().state(); !found || state.State != "Running" {
		v.State = unhealthy
	}
	return v, nil
}

func (s *Service) answerService(w http.ResponseWriter, r *http.Request, v service) error {
	v, err := s.observed(r.Context(), v)
	if err != nil {
		return err
	}
	out, err := s.serviceWire(r.Context(), v, ofTwenty18(r))
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) getService(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	v, _, err := s.find(r.Context(), c)
	if err != nil {
		return err
	}
	return s.answerService(w, r, v)
}

func (s *Service) listServices(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	l, err := mms.ParseList(r, c)
	if err != nil {
		return err
	}
	ctx, q := r.Context(), r.URL.Query()
	all, err := store.ReadAll[service](ctx, s.cfg.Store, key(c.Workspace, kindService, ""))
	if err != nil {
		return err
	}
	var failure error
	all = slices.DeleteFunc(all, func(v service) bool {
		shown, err := s.shown(ctx, v, q)
		failure = errors.Join(failure, err)
		return !shown
	})
	out, err := mms.Paginate(l, all, func(v service) mms.Entry { return v.Entry }, func(v service) any {
		v, err := s.observed(ctx, v)
		failure = errors.Join(failure, err)
		d, err := s.serviceWire(ctx, v, ofTwenty18(r))
		failure = errors.Join(failure, err)
		return d
	})
	if err := errors.Join(err, failure); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

// shown applies the filters that services alone have.
func (s *Service) shown(ctx context.Context, v service, q map[string][]string) (bool, error) {
	if v.Deleting {
		return false, nil
	}
	one := func(name, value string) bool {
		want := mms.QueryValues(q, name)
		return len(want) == 0 || strings.EqualFold(want[0], value)
	}
	imageName, _, _ := strings.Cut(v.ImageID, ":")
	if !one("computeType", "ACI") || !one("imageId", v.ImageID) || !one("imageName", imageName) {
		return false, nil
	}
	name, id := mms.QueryValues(q, "modelName"), mms.QueryValues(q, "modelId")
	if len(name)+len(id) == 0 {
		return true, nil
	}
	i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(v.Workspace, v.ImageID))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && i.ofModel(name, id), err
}

// serviceLogs are what the service's container printed: of a deployment that
// failed what it had printed by then, and of a container that never ran what its events say.
func (s *Service) serviceLogs(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	v, _, err := s.find(r.Context(), c)
	if err != nil {
		return err
	}
	tail := 0
	if t := r.URL.Query().Get("tail"); t != "" {
		if tail, err = strconv.Atoi(t); err != nil || tail < 1 {
			return mms.Fault(http.StatusBadRequest, "InvalidQueryParameter", "tail", "The value '%s' of 'tail' is not a number of lines.", t)
		}
	}
	text, err := s.logOf(r.Context(), v, tail)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, map[string]string{"content": text})
	return nil
}

func (s *Service) logOf(ctx context.Context, v service, tail int) (string, error) {
	if v.State == failed {
		text, err := s.read(ctx, v.Workspace, v.crashLog())
		if err == nil {
			return lastLines(text, tail), nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
	}
	text, err := s.groupLogs(ctx, v.Workspace, v.Name, tail)
	if e := (*execution.ARMError)(nil); err != nil && !errors.As(err, &e) {
		return "", err
	}
	if err == nil && text != "" {
		return text, nil
	}
	g, _, err := s.getGroup(ctx, v.Workspace, v.Name)
	return g.trouble(), err
}

// lastLines are the last n lines of a text; 0: all.
func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if n == 0 || len(lines) <= n {
		return text
	}
	return strings.Join(lines[len(lines)-n:], "")
}

// deleteService ends what is under way and removes the group; when it answers, both are gone.
func (s *Service) deleteService(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	v, _, err := s.find(r.Context(), c)
	var e *plane.Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.remove(r.Context(), v); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// remove deletes a service with all that is its own. It may be repeated.
func (s *Service) remove(ctx context.Context, v service) error {
	k := key(v.Workspace, kindService, v.Name)
	v, _, err := store.Update(ctx, s.cfg.Store, k, func(v *service, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		v.Deleting = true
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.cancel(ctx, key(v.Workspace, kindOperation, v.OperationID)); err != nil {
		return err
	}
	if err := s.deleteGroup(ctx, v.Workspace, v.Name); err != nil {
		return err
	}
	for _, id := range v.Served {
		i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(v.Workspace, id))
		if err == nil {
			err = s.dropImage(ctx, v.Workspace, i)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if err := s.cfg.Store.Delete(ctx, k, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}
