package dsvm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/engine"
)

// agentVersion is that of the Linux agent of autumn 2018.
const agentVersion = "2.2.31"

// system is what the agent tells of the machine that runs it.
type system struct {
	Name, Version string // of the distribution, as /etc/os-release has them
	Ready         time.Time
}

// agentLimit is how long the agent may look at the system.
const agentLimit = 5 * time.Second

// booted is what happens in a machine once it takes logins: the agent looks
// around, and at the very first boot cloud-init does what the custom data says.
func (m *machine) booted(ctx context.Context) error {
	f := m.snapshot()
	m.console("Booted %s. The SSH server listens at %s.", f.Computer, f.endpoint())
	for _, k := range m.server.HostKeys() {
		m.console("SSH host key: %s", k)
	}
	sys := m.look(ctx)
	sys.Ready = m.fake.cfg.Clock.Now()
	if err := m.save(func(f *machineFile) { f.System = sys }); err != nil {
		return err
	}
	m.keepLog(ctx)
	return m.firstBoot(f)
}

// releaser is a server that knows the os-release of what it runs in.
type releaser interface{ Release() string }

// look asks the system for its name.
func (m *machine) look(ctx context.Context) system {
	if r, ok := m.server.(releaser); ok && r.Release() != "" {
		return systemOf(r.Release())
	}
	ctx, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	var out bytes.Buffer
	exit, err := m.container.(engine.Execer).Exec(ctx, engine.Exec{Command: []string{"/bin/sh", "-c", "cat /etc/os-release /usr/lib/os-release 2>/dev/null || uname -s"}, Env: m.env, Stdout: &out})
	if err != nil || exit.Code != 0 && out.Len() == 0 {
		m.fake.cfg.Logger.Warn("a VM's agent can't tell its system", "vm", m.file.VM, "error", err)
		return system{}
	}
	return systemOf(out.String())
}

// systemOf reads an os-release, or what uname says.
func systemOf(release string) (sys system) {
	for line := range strings.Lines(release) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch {
		case name == "ID" && sys.Name == "":
			sys.Name = value
		case name == "VERSION_ID" && sys.Version == "":
			sys.Version = value
		case !found && sys.Name == "":
			sys.Name = strings.ToLower(name)
		}
	}
	return sys
}

// console adds a line to the serial log.
func (m *machine) console(format string, args ...any) {
	line := fmt.Sprintf("[%s] "+format+"\n", append([]any{m.fake.cfg.Clock.Now().UTC().Format(time.RFC3339)}, args...)...)
	if _, err := m.serial().Write([]byte(line)); err != nil {
		m.fake.cfg.Logger.Warn("a VM's serial log", "vm", m.file.VM, "error", err)
	}
}

// serial is the machine's serial log.
func (m *machine) serial() serialLog { return serialLog(filepath.Join(m.dir, "serial.log")) }

// serialLog is a file that is only ever appended to.
type serialLog string

// Write implements io.Writer.
func (s serialLog) Write(b []byte) (int, error) {
	f, err := os.OpenFile(string(s), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return n, err
}

// agentView is properties.instanceView.vmAgent.
func (f *Fake) agentView(file machineFile, extensions []extension) object {
	handlers := []object{}
	for _, e := range extensions {
		if e.State.Status == nil {
			continue
		}
		handlers = append(handlers, object{"type": e.kind(), "typeHandlerVersion": e.State.HandlerVersion,
			"status": object{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready", "message": "Plugin enabled"}})
	}
	return object{"vmAgentVersion": agentVersion, "extensionHandlers": handlers, "statuses": []object{{
		"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready", "message": "Guest Agent is running",
		"time": file.System.Ready.UTC().Format("2006-01-02T15:04:05+00:00")}}}
}

// instanceView is that of VirtualMachineInstanceView, without what there is nothing of.
func (f *Fake) instanceView(r *arm.Resource, o object, p private, extensions []extension) object {
	m := f.machine(p.ID)
	file := m.snapshot()
	word := m.power()
	switch step := p.Step; {
	case word != "running" && (step == "create" || step == "start" || step == "restart" || step == "resize" || step == "redeploy" || step == "reimage"):
		word = "starting"
	case word == "running" && step == "powerOff":
		word = "stopping"
	case word == "running" && step == "deallocate":
		word = "deallocating"
	}
	state := strings.ToLower(r.State)
	provisioning := object{"code": "ProvisioningState/" + state, "level": "Info", "displayStatus": "Provisioning " + state}
	if !p.Provisioned.IsZero() {
		provisioning["time"] = stamp(p.Provisioned)
	}
	if why := p.LastFailure; state == "failed" && why != nil {
		provisioning["code"], provisioning["level"], provisioning["message"] = "ProvisioningState/failed/"+why.Code, "Error", why.Message
	}
	statuses := []object{provisioning}
	if p.Generalized {
		statuses = append(statuses, object{"code": "OSState/generalized", "level": "Info", "displayStatus": "VM generalized"})
	}
	view := object{"statuses": append(statuses, object{"code": "PowerState/" + word, "level": "Info", "displayStatus": "VM " + word})}
	disks := []object{}
	storage := o.child("storageProfile")
	for _, disk := range append([]object{storage.child("osDisk")}, storage.list("dataDisks")...) {
		if name := disk.text("name"); name != "" {
			status := object{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}
			if !p.Provisioned.IsZero() {
				status["time"] = stamp(p.Provisioned)
			}
			disks = append(disks, object{"name": name, "statuses": []object{status}})
		}
	}
	view["disks"] = disks
	if !file.System.Ready.IsZero() {
		view["computerName"], view["osName"], view["osVersion"] = file.Computer, file.System.Name, file.System.Version
		view["vmAgent"] = f.agentView(file, extensions)
	}
	if url, own := serialURL(r, p); own && f.cfg.KeepLog != nil {
		view["bootDiagnostics"] = object{"serialConsoleLogBlobUri": url}
	}
	var shown []object
	for _, e := range extensions {
		if s := e.State.Status; s != nil {
			shown = append(shown, object{"name": nameOf(e.ID), "type": e.kind(), "typeHandlerVersion": e.State.HandlerVersion, "statuses": []object{s.object()}})
		}
	}
	if shown != nil {
		view["extensions"] = shown
	}
	return view
}

// renderVM is the wire form; with $expand=instanceView it says what is really so.
func (f *Fake) renderVM(c arm.Call, r *arm.Resource) (any, error) {
	o, err := whole(r)
	if err != nil {
		return nil, err
	}
	p, err := privateOf(r)
	if err != nil {
		return nil, err
	}
	extensions, err := f.extensionsOf(c.View, r.ID)
	if err != nil {
		return nil, err
	}
	for _, expand := range c.Query["$expand"] {
		if strings.EqualFold(expand, "instanceView") {
			o["instanceView"] = f.instanceView(r, o, p, extensions)
		}
	}
	out := envelope(r, typeVM, o, portTag(r.Tags, p.Port))
	var children []any
	for _, e := range extensions {
		child, err := f.renderExtension(c, e.Resource)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	if children != nil {
		out["resources"] = children
	}
	return out, nil
}

// readInstanceView is GET {id}/instanceView.
func (f *Fake) readInstanceView(_ context.Context, v arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	o, err := parse(r.Properties)
	if err != nil {
		return 0, nil, err
	}
	p, err := privateOf(r)
	if err != nil {
		return 0, nil, err
	}
	extensions, err := f.extensionsOf(v, r.ID)
	if err != nil {
		return 0, nil, err
	}
	return 0, f.instanceView(r, o, p, extensions), nil
}

// envelope is ARM's around properties.
func envelope(r *arm.Resource, kind string, properties object, tags map[string]string) object {
	out := object{"id": r.ID.String(), "name": nameOf(r.ID), "type": kind, "properties": properties}
	if r.Location != "" {
		out["location"] = r.Location
	}
	if tags != nil {
		out["tags"] = tags
	}
	if r.ETag != "" && strings.HasPrefix(kind, "Microsoft.Network/") {
		out["etag"] = weak(r)
	}
	if len(r.Zones) > 0 {
		out["zones"] = r.Zones
	}
	for name, raw := range map[string]json.RawMessage{"sku": r.SKU, "plan": r.Plan, "identity": r.Identity} {
		if len(raw) > 0 && string(raw) != "null" {
			out[name] = raw
		}
	}
	return out
}
