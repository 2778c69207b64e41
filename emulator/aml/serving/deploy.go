package serving

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/aml/mms"
	"lazulite.dev/emulator/store"
)

// crashes is how many restarts of a container make its deployment a failure: one may be bad luck.
const crashes = 1

// probePatience is how long a service may take to answer one look at its health.
const probePatience = 5 * time.Second

// generationHeader is how a container says of which deployment it is.
const generationHeader = "Azureml-Model-Deployment"

// serveSpec is what serve.py gets to know.
type serveSpec struct {
	Name         string            `json:"name"`
	ImageID      string            `json:"imageId"`
	Driver       string            `json:"driver"`
	Content      string            `json:"content"`
	Environment  string            `json:"environment"`
	Folder       string            `json:"folder"`
	Dependencies json.RawMessage   `json:"dependencies"`
	Variables    map[string]string `json:"environmentVariables"`
	Models       []serveModel      `json:"models"`
	Port         int               `json:"port"`
}

type serveModel struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// deploy orders the service's group and follows it until it answers.
func (s *Service) deploy(ctx context.Context, op *operation) error {
	v, _, err := store.Read[service](ctx, s.cfg.Store, key(op.Workspace, kindService, op.Name))
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Deleting {
		return fail("ServiceNotFound", nil, "The service '%s' was deleted.", op.Name)
	}
	if err != nil {
		return err
	}
	i, _, err := store.Read[image](ctx, s.cfg.Store, imageKey(v.Workspace, v.ImageID))
	if errors.Is(err, store.ErrNotFound) || err == nil && i.Built == nil {
		return fail("ImageNotFound", nil, "The image '%s' was deleted.", v.ImageID)
	}
	if err != nil {
		return err
	}
	if !op.Ordered {
		if err := s.order(ctx, v, i); err != nil {
			return err
		}
		op.Ordered = true
		if err := s.save(ctx, *op); err != nil {
			return err
		}
	}
	return s.follow(ctx, op, v, i)
}

// order asks for the group. Asked again it is the same one.
func (s *Service) order(ctx context.Context, v service, i image) error {
	ws := v.Workspace
	spec := serveSpec{Name: v.Name, ImageID: i.ID, Driver: i.driverFile(), Folder: i.Built.Folder, Dependencies: i.Built.Dependencies,
		Variables: map[string]string{}, Models: []serveModel{}, Port: port}
	var err error
	if spec.Content, err = s.url(ctx, ws, blobPrefix(i.ID)+"content.tar.gz", "r"); err != nil {
		return err
	}
	if spec.Environment, err = s.url(ctx, ws, i.Built.Environment, "r"); err != nil {
		return err
	}
	for _, id := range i.ModelIDs {
		m, version := splitID(id)
		spec.Models = append(spec.Models, serveModel{m, version})
	}
	if i.Environment != nil {
		var env modelEnvironment
		if err := json.Unmarshal(i.Environment, &env); err != nil {
			return err
		}
		if env.EnvironmentVariables != nil {
			spec.Variables = env.EnvironmentVariables
		}
	}
	secure := map[string]string{}
	if v.SSLEnabled {
		spec.Port = tlsPort
		secure["AML_APP_SSL_CERTIFICATE"], secure["AML_APP_SSL_KEY"] = v.SSLCertificate, v.SSLKey
	}
	if v.AuthEnabled {
		secure["AML_APP_PRIMARY_KEY"], secure["AML_APP_SECONDARY_KEY"] = v.Keys.Primary, v.Keys.Secondary
	}
	if secure[kitVariable], err = s.putKit(ctx, ws, "services/"+v.Name+"/"+v.Generation+".zip", spec); err != nil {
		return err
	}
	err = s.putGroup(ctx, ws, group{name: v.Name, location: v.Location, restart: "Always", command: command("serve.py"), tags: v.KvTags.Clone(),
		secure: secure, plain: map[string]string{"AML_APP_GENERATION": v.Generation, "SERVICE_NAME": v.Name}, cpu: v.CPU, memory: v.Memory, port: spec.Port, label: v.Label})
	if e, ok := refused(err); ok {
		return deploymentFailed([]mms.Detail{{Code: e.Code, Message: e.Message}}, e.Message)
	}
	return err
}

func deploymentFailed(details []mms.Detail, why string) *failure {
	return fail("AciDeploymentFailed", details, "Aci Deployment failed with exception: %s", why)
}

// follow waits until the service answers, or is known never to.
func (s *Service) follow(ctx context.Context, op *operation, v service, i image) error {
	for {
		g, found, err := s.getGroup(ctx, v.Workspace, v.Name)
		if err != nil {
			return err
		}
		c := g.container()
		state := c.state()
		switch {
		case !found:
			return deploymentFailed(nil, "The container group "+v.Name+" was deleted.")
		case g.Properties.ProvisioningState == "Failed":
			return deploymentFailed([]mms.Detail{{Code: "ContainerGroupFailed", Message: g.trouble()}}, "The container group "+v.Name+" could not be started. "+g.trouble())
		case state.State == "Waiting" && strings.HasPrefix(state.DetailStatus, "CrashLoopBackOff") && c.RestartCount >= crashes:
			kept, err := s.keepLog(ctx, v, c)
			if err != nil {
				return err
			}
			if kept {
				return s.crashed(v, i, c)
			}
		case state.State == "Running" && g.Properties.ProvisioningState == "Succeeded":
			if s.answers(ctx, v, g.Properties.IPAddress.IP) {
				_, _, err := store.Update(ctx, s.cfg.Store, key(v.Workspace, kindService, v.Name), func(v *service, found bool) error {
					if !found {
						return store.ErrNotFound
					}
					v.Address, v.FQDN = g.Properties.IPAddress.IP, g.Properties.IPAddress.FQDN
					return nil
				})
				return err
			}
		}
		if err := s.overdue(op); err != nil {
			return err
		}
		s.pause(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// crashLog is the blob with what the container of a deployment printed before it was given up.
func (v service) crashLog() string { return "services/" + v.Name + "/" + v.Generation + ".log" }

// keepLog keeps the log of the run that crashed; kept is false where another had begun meanwhile, whose log says nothing yet.
func (s *Service) keepLog(ctx context.Context, v service, crashed containerView) (kept bool, err error) {
	text, err := s.groupLogs(ctx, v.Workspace, v.Name, 0)
	if err != nil {
		return false, err
	}
	g, _, err := s.getGroup(ctx, v.Workspace, v.Name)
	if c := g.container(); err != nil || c.RestartCount != crashed.RestartCount || c.state().State == "Running" {
		return false, err
	}
	_, err = s.cfg.Blob.Put(ctx, v.Workspace.StorageAccount, imageContainer, v.crashLog(), "text/plain; charset=utf-8", strings.NewReader(text))
	return err == nil, err
}

// crashed words what the service said of a container that does not stay up.
func (s *Service) crashed(v service, i image, c containerView) error {
	why := "Your container application crashed. This may be caused by errors in your scoring file's init() function.\n" +
		"Please check the logs for your container instance: " + v.Name + ". From the AML SDK, you can run print(service.get_logs()) if you have service object to fetch the logs."
	return deploymentFailed([]mms.Detail{{Code: "CrashLoopBackOff", Message: why},
		{Code: "AciDeploymentFailed", Message: "The container of the image " + location(v.Workspace, i.ID) + ": " + c.diagnosis()}}, why)
}

// answers asks the service whether it is well, and whether it is this deployment that says so.
func (s *Service) answers(ctx context.Context, v service, address string) bool {
	if address == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	u := url.URL{Scheme: "http", Host: address + ":" + strconv.Itoa(port), Path: "/"}
	if v.SSLEnabled {
		u = url.URL{Scheme: "https", Host: address + ":" + strconv.Itoa(tlsPort), Path: "/"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false
	}
	resp, err := s.cfg.Web.RoundTrip(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxText))
	return errors.Join(err, resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK && resp.Header.Get(generationHeader) == v.Generation
}
