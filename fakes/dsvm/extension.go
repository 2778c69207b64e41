package dsvm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/sshd"
)

const typeExtension = "Microsoft.Compute/virtualMachines/extensions"

// Kinds of extensions, by what they do.
const (
	runsScript = "script"
	setsAccess = "access"
)

// handlers are the extensions that a Linux VM can have here.
var handlers = []struct{ publisher, name, version, does string }{
	{"Microsoft.Azure.Extensions", "CustomScript", "2.0.6", runsScript},
	{"Microsoft.OSTCExtensions", "CustomScriptForLinux", "1.5.2.2", runsScript},
	{"Microsoft.OSTCExtensions", "VMAccessForLinux", "1.4.7.1", setsAccess},
}

// extensionQueries are the reads of virtualMachineExtensionImages (2018-10-01).
func (f *Fake) extensionQueries(versions arm.Versions) []arm.Query {
	const types = "locations/{location}/publishers/{publisher}/artifacttypes/vmextension/types"
	list := func(c arm.Call, names []string, below string) (any, error) {
		location, err := f.location(c, "locations/publishers")
		if err != nil {
			return nil, err
		}
		out := []object{}
		for _, n := range names {
			id := fmt.Sprintf("/Subscriptions/%s/Providers/Microsoft.Compute/Locations/%s/Publishers/%s/ArtifactTypes/VMExtension/Types/%s%s", variable(c, "subscription"), location, variable(c, "publisher"), below, n)
			out = append(out, object{"location": location, "name": n, "id": id})
		}
		if len(out) == 0 {
			return nil, &arm.Error{Status: http.StatusNotFound, Code: "NotFound", Message: "Artifact: VMExtension was not found."}
		}
		return out, nil
	}
	find := func(c arm.Call, take func(name, version string) string) (names []string) {
		for _, h := range handlers {
			if strings.EqualFold(h.publisher, variable(c, "publisher")) {
				if n := take(h.name, h.version); n != "" {
					names = append(names, n)
				}
			}
		}
		return names
	}
	versionsOf := func(c arm.Call) []string {
		return find(c, func(name, version string) string {
			if !strings.EqualFold(name, variable(c, "type")) {
				return ""
			}
			return strings.Join(strings.Split(version, ".")[:3], ".")
		})
	}
	return []arm.Query{
		{Method: http.MethodGet, Pattern: types, Versions: versions, Do: func(_ context.Context, c arm.Call) (any, error) {
			return list(c, find(c, func(name, _ string) string { return name }), "")
		}},
		{Method: http.MethodGet, Pattern: types + "/{type}/versions", Versions: versions, Do: func(_ context.Context, c arm.Call) (any, error) {
			return list(c, versionsOf(c), variable(c, "type")+"/Versions/")
		}},
		{Method: http.MethodGet, Pattern: types + "/{type}/versions/{version}", Versions: versions, Do: func(_ context.Context, c arm.Call) (any, error) {
			var names []string
			if slices.Contains(versionsOf(c), variable(c, "version")) {
				names = []string{variable(c, "version")}
			}
			all, err := list(c, names, variable(c, "type")+"/Versions/")
			if err != nil {
				return nil, err
			}
			one := all.([]object)[0]
			one["properties"] = object{"operatingSystem": "Linux", "computeRole": "IaaS", "vmScaleSetEnabled": true, "supportsMultipleExtensions": false}
			return one, nil
		}},
	}
}

// extensionProperties are those of VirtualMachineExtension (2018-10-01).
type extensionProperties struct {
	Publisher         string          `json:"publisher"`
	Type              string          `json:"type"`
	Version           string          `json:"typeHandlerVersion"`
	Settings          json.RawMessage `json:"settings"`
	ProtectedSettings json.RawMessage `json:"protectedSettings"`
}

// extensionPrivate is what the fake keeps of an extension out of sight.
type extensionPrivate struct {
	Protected      json.RawMessage `json:",omitempty"`
	HandlerVersion string
	Asked, Done    int    // runs
	Epoch          string // of the Fake that began the last one
	Status         *extensionStatus
}

// extensionStatus is what the handler reported last.
type extensionStatus struct {
	Failed  bool
	Message string
	Time    time.Time
}

func (s extensionStatus) object() object {
	word, level := "succeeded", "Info"
	if s.Failed {
		word, level = "failed", "Error"
	}
	return object{"code": "ProvisioningState/" + word, "level": level, "displayStatus": "Provisioning " + word, "message": s.Message, "time": stamp(s.Time)}
}

// extension is one with what is kept of it.
type extension struct {
	*arm.Resource
	State extensionPrivate
	w     extensionProperties
}

func (e extension) kind() string { return e.w.Publisher + "." + e.w.Type }

func newExtension(r *arm.Resource) (extension, error) {
	e := extension{Resource: r}
	if len(r.Private) > 0 {
		if err := json.Unmarshal(r.Private, &e.State); err != nil {
			return e, err
		}
	}
	return e, read(r.Properties, &e.w)
}

func (e extension) store() (err error) {
	e.Private, err = json.Marshal(e.State)
	return err
}

// extensionsOf lists a VM's.
func (f *Fake) extensionsOf(v arm.View, vm arm.ID) ([]extension, error) {
	if v == nil {
		return nil, nil
	}
	all, err := v.List(context.Background(), vm, typeExtension)
	if err != nil {
		return nil, err
	}
	var out []extension
	for _, r := range all {
		e, err := newExtension(r)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (f *Fake) admitExtension(ctx context.Context, v arm.View, _ arm.Call, old, next *arm.Resource) error {
	e, err := newExtension(next)
	if err != nil {
		return err
	}
	switch {
	case e.w.Publisher == "":
		return missing("publisher")
	case e.w.Type == "":
		return missing("type")
	case e.w.Version == "":
		return missing("typeHandlerVersion")
	}
	if old != nil {
		was, err := newExtension(old)
		if err != nil {
			return err
		}
		if !strings.EqualFold(was.w.Publisher, e.w.Publisher) || !strings.EqualFold(was.w.Type, e.w.Type) {
			return &arm.Error{Status: http.StatusBadRequest, Code: "OperationNotAllowed", Target: "type",
				Message: fmt.Sprintf("Multiple VMExtensions per handler not supported for OS type 'Linux'. On update of VMExtension '%s', the publisher and type can't be changed.", nameOf(next.ID))}
		}
	}
	does := ""
	for _, h := range handlers {
		if strings.EqualFold(h.publisher, e.w.Publisher) && strings.EqualFold(h.name, e.w.Type) {
			does, e.State.HandlerVersion = h.does, h.version
		}
	}
	if does == "" {
		return &arm.Error{Status: http.StatusNotFound, Code: "ArtifactNotFound", Message: fmt.Sprintf("The VM extension with publisher '%s' and type '%s' could not be found.", e.w.Publisher, e.w.Type)}
	}
	vm, p, err := f.parentVM(ctx, v, next.ID)
	if err != nil {
		return err
	}
	if p.Created && f.machine(p.ID).power() != "running" {
		return extensionNeedsPower()
	}
	others, err := f.extensionsOf(v, vm.ID)
	if err != nil {
		return err
	}
	for _, o := range others {
		if old == nil && strings.EqualFold(o.kind(), e.kind()) && !o.Deleting {
			return &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: fmt.Sprintf("Multiple VMExtensions per handler not supported for OS type 'Linux'. VMExtension '%s' with handler '%s' already added or specified in input.", nameOf(o.ID), o.kind())}
		}
	}
	e.State.Protected = e.w.ProtectedSettings
	if _, err := e.settings(); err != nil {
		return err
	}
	if does == runsScript {
		if _, err := e.customScript(); err != nil {
			return err
		}
	}
	e.State.Asked++
	o, err := parse(next.Properties)
	if err != nil {
		return err
	}
	delete(o, "protectedSettings")
	delete(o, "instanceView")
	delete(o, "provisioningState")
	o.fillAll(map[string]any{"autoUpgradeMinorVersion": false, "settings": map[string]any{}})
	if next.Properties, err = o.encode(); err != nil {
		return err
	}
	return e.store()
}

func extensionNeedsPower() *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: "Cannot modify extensions in the VM when the VM is not running."}
}

// parentVM is the VM that a child resource is of.
func (f *Fake) parentVM(ctx context.Context, v arm.View, id arm.ID) (*arm.Resource, private, error) {
	parent, err := parentOf(id)
	if err != nil {
		return nil, private{}, err
	}
	vm, err := v.Get(ctx, parent)
	if err != nil {
		return nil, private{}, err
	}
	p, err := privateOf(vm)
	return vm, p, err
}

// renderExtension shows what the handler reported where the instance view is asked for.
func (f *Fake) renderExtension(c arm.Call, r *arm.Resource) (any, error) {
	e, err := newExtension(r)
	if err != nil {
		return nil, err
	}
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	for _, expand := range c.Query["$expand"] {
		if strings.EqualFold(expand, "instanceView") && e.State.Status != nil && isType(r.ID.String(), typeExtension) {
			o["instanceView"] = object{"name": nameOf(r.ID), "type": e.kind(), "typeHandlerVersion": e.State.HandlerVersion, "statuses": []object{e.State.Status.object()}}
		}
	}
	return envelope(r, typeExtension, o, r.Tags), nil
}

// settings are the public and the protected ones together.
func (e extension) settings() (object, error) {
	public, err := parse(e.w.Settings)
	if err != nil {
		return nil, invalid("settings", "The value of parameter settings is invalid.")
	}
	protected, err := parse(e.State.Protected)
	if err != nil {
		return nil, invalid("protectedSettings", "The value of parameter protectedSettings is invalid.")
	}
	for name, value := range protected {
		public[name] = value
	}
	return public, nil
}

// extensionReconciler has the handler do its work in the machine.
type extensionReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f extensionReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	e, err := newExtension(r)
	if err != nil {
		return arm.Result{}, err
	}
	if r.Deleting || e.State.Done >= e.State.Asked {
		return arm.Result{Done: true}, nil
	}
	_, p, err := f.parentVM(ctx, v, r.ID)
	if err != nil {
		return arm.Result{}, err
	}
	m := f.machine(p.ID)
	if !p.Created {
		return arm.Result{RequeueAfter: taskPause}, nil
	}
	failed := ""
	var done bool
	switch {
	case m.power() != "running":
		e.State.Done = e.State.Asked
		return arm.Result{}, errors.Join(e.store(), extensionNeedsPower())
	case e.State.Epoch != "" && e.State.Epoch != f.epoch:
		done, failed = true, "Enable failed: the VM stopped while the handler was running"
	case e.State.Epoch == "":
		// That it may have begun is stored before it does: no script runs twice.
		e.State.Epoch = f.epoch
		return arm.Result{RequeueAfter: soon}, e.store()
	default:
		if done, failed, err = f.handle(ctx, m, e); err != nil {
			return arm.Result{}, err
		}
	}
	if !done {
		return arm.Result{RequeueAfter: taskPause}, nil
	}
	e.State.Done, e.State.Epoch = e.State.Asked, ""
	return f.report(m, e, failed)
}

// report ends a run with what the handler says of it.
func (f extensionReconciler) report(m *machine, e extension, failed string) (arm.Result, error) {
	message := failed
	if failed == "" {
		message = "Enable succeeded."
		if t := m.task(e.task()); t != nil {
			message = "Enable succeeded: " + t.output()
		}
	}
	m.forgetTask(e.task())
	e.State.Status = &extensionStatus{Failed: failed != "", Message: message, Time: f.cfg.Clock.Now()}
	if err := e.store(); err != nil {
		return arm.Result{}, err
	}
	if failed != "" {
		return arm.Result{}, &arm.Error{Status: http.StatusConflict, Code: "VMExtensionProvisioningError",
			Message: fmt.Sprintf("VM has reported a failure when processing extension '%s'. Error message: \"%s\".", nameOf(e.ID), failed)}
	}
	return arm.Result{Done: true}, nil
}

func (e extension) task() string {
	return "extension-" + strings.ToLower(nameOf(e.ID)) + "-" + strconv.Itoa(e.State.Asked)
}

// handle moves a run one step on. failed says why it went wrong.
func (f extensionReconciler) handle(ctx context.Context, m *machine, e extension) (done bool, failed string, err error) {
	settings, err := e.settings()
	if err != nil {
		return true, "Enable failed: " + err.Error(), nil
	}
	if strings.EqualFold(e.w.Type, "VMAccessForLinux") {
		if err := f.access(m, settings); err != nil {
			return true, "Enable failed: " + err.Error(), nil
		}
		return true, "", nil
	}
	if m.task(e.task()) == nil {
		script, err := e.customScript()
		if err != nil {
			return true, "Enable failed: " + err.Error(), nil
		}
		dir := m.agentDir("custom-script", strings.ToLower(nameOf(e.ID)), "download", strconv.Itoa(e.State.Asked))
		if err := f.download(ctx, m, dir, script.FileURIs); err != nil {
			if ctx.Err() != nil {
				return false, "", ctx.Err()
			}
			return true, "Enable failed: failed to download files: " + err.Error(), nil
		}
		line := script.Command
		if script.Script != nil {
			file, err := m.agentFile(dir, "script.sh", script.Script, 0o700)
			if err != nil {
				return false, "", err
			}
			line = quote(file)
		}
		if err := m.launch(e.task(), dir, nil, "/bin/sh", "-c", line); err != nil {
			return false, "", err
		}
	}
	t := m.task(e.task())
	if t == nil || !t.over(ctx) {
		return false, "", nil
	}
	if why := t.failure(); why != "" {
		return true, "Enable failed: " + why + t.output(), nil
	}
	return true, "", nil
}

// customScript is what CustomScript's settings ask for.
type customScript struct {
	Command  string
	Script   []byte
	FileURIs []string
}

// How much a script and a downloaded file may hold.
const (
	maxScript   = 256 << 10
	maxDownload = 1 << 30
)

func (e extension) customScript() (customScript, error) {
	var out customScript
	settings, err := e.settings()
	if err != nil {
		return out, err
	}
	out.Command = settings.text("commandToExecute")
	uris, _ := settings["fileUris"].([]any)
	for _, u := range uris {
		s, _ := u.(string)
		if parsed, err := url.Parse(s); err != nil || parsed.Host == "" {
			return out, invalid("settings.fileUris", fmt.Sprintf("The file URI '%s' is invalid.", s))
		}
		out.FileURIs = append(out.FileURIs, s)
	}
	text := settings.text("script")
	switch {
	case out.Command == "" && text == "":
		return out, invalid("settings", "invalid configuration: 'commandToExecute' or 'script' is not specified")
	case out.Command != "" && text != "":
		return out, invalid("settings", "invalid configuration: 'commandToExecute' and 'script' were both specified, but only one is validate at a time")
	case text == "":
		return out, nil
	}
	if out.Script, err = base64.StdEncoding.DecodeString(text); err != nil {
		return out, invalid("settings.script", "invalid configuration: 'script' must be base64")
	}
	if z, err := gzip.NewReader(bytes.NewReader(out.Script)); err == nil {
		if out.Script, err = io.ReadAll(io.LimitReader(z, maxScript+1)); err != nil {
			return out, invalid("settings.script", "invalid configuration: 'script' is no gzip: "+err.Error())
		}
	}
	if len(out.Script) > maxScript {
		return out, invalid("settings.script", fmt.Sprintf("'script' property is longer than %d bytes", maxScript))
	}
	return out, nil
}

// download fetches the files that a script wants into its folder.
func (f *Fake) download(ctx context.Context, m *machine, dir string, uris []string) error {
	for i, u := range uris {
		if err := f.downloadOne(ctx, m, dir, u); err != nil {
			return fmt.Errorf("file %d: %w", i, err)
		}
	}
	return nil
}

func (f *Fake) downloadOne(ctx context.Context, m *machine, dir, uri string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return err
	}
	a, err := (&http.Client{Transport: f.cfg.Transport}).Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("unexpected status code: actual=%d expected=200", a.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(a.Body, maxDownload+1))
	if err == nil && len(data) > maxDownload {
		err = errors.New("the file is too large")
	}
	if err != nil {
		return err
	}
	_, err = m.agentFile(dir, path.Base(r.URL.Path), data, 0o700)
	return err
}

// access does what VMAccessForLinux's settings ask for.
func (f *Fake) access(m *machine, settings object) error {
	user := settings.text("username")
	if user != "" {
		var hash string
		if password := settings.text("password"); password != "" {
			var err error
			if hash, err = sshd.HashPassword(password); err != nil {
				return err
			}
		}
		var keys []string
		if key := settings.text("ssh_key"); key != "" {
			if err := sshd.CheckKey(key); err != nil {
				return fmt.Errorf("the ssh_key is invalid: %w", err)
			}
			keys = append(keys, key)
		}
		if hash == "" && keys == nil {
			return errors.New("No password or ssh_key is specified.")
		}
		if err := m.setUser(user, hash, keys); err != nil {
			return err
		}
	}
	if gone := settings.text("remove_user"); gone != "" {
		return m.removeUser(gone)
	}
	return nil
}
