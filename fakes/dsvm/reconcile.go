package dsvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
)

// next is what to do with a VM, "" for nothing: from what is wanted and what is so.
func next(p private, power, size string, deleting bool) string {
	switch {
	case deleting && p.Gone:
		return ""
	case deleting:
		return "delete"
	case !p.Created:
		return "create"
	case p.Want == "deallocated" && power != "deallocated":
		return "deallocate"
	case p.Want == "stopped" && power == "running":
		return "powerOff"
	case size != "" && size != p.Size:
		return "resize"
	case p.Want == "running" && power != "running":
		return "start"
	case p.Again != "":
		return p.Again
	case p.Changes > p.Changed:
		return "update"
	case p.Command != nil:
		return "runCommand"
	}
	return ""
}

type vmReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler.
func (f vmReconciler) Reconcile(ctx context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	p, err := privateOf(r)
	if err != nil {
		return arm.Result{}, err
	}
	m := f.machine(p.ID)
	if done, err := f.tell(ctx, v, r, &p); err != nil || !done {
		return arm.Result{RequeueAfter: tellPause}, errors.Join(err, p.store(r))
	}
	if e := p.Failure; e != nil {
		p.Failure = nil
		if err := p.store(r); err != nil {
			return arm.Result{}, err
		}
		return arm.Result{}, &arm.Error{Status: e.Status, Code: e.Code, Message: e.Message}
	}
	step := next(p, m.power(), m.snapshot().Size, r.Deleting)
	if step == "" {
		p.Step = ""
		return arm.Result{Done: true}, p.store(r)
	}
	if step == "runCommand" {
		p.Step = step
		return f.runCommand(ctx, m, r, &p)
	}
	now := f.cfg.Clock.Now()
	if p.Step != step {
		p.Step, p.Due = step, now.Add(f.delay(step))
	}
	if wait := p.Due.Sub(now); wait > 0 {
		return arm.Result{RequeueAfter: wait}, p.store(r)
	}
	err = f.perform(ctx, v, step, m, r, &p)
	var final *arm.Error
	if err != nil && !errors.As(err, &final) {
		return arm.Result{}, err // to be tried again as it stands
	}
	p.Step = ""
	if final != nil {
		p.giveUp(m.power(), final)
	} else {
		p.LastFailure = nil
	}
	// What the network interfaces read must be stored before they are woken.
	p.Wake, p.TellBy = append(p.Wake, p.NICs...), now.Add(tellLimit)
	disks, err := f.disksToMake(step, r)
	return arm.Result{RequeueAfter: soon, Create: disks}, errors.Join(err, p.store(r))
}

// disksToMake are the managed disks that come with a step.
func (f vmReconciler) disksToMake(step string, r *arm.Resource) ([]*arm.Resource, error) {
	if step != "create" && step != "update" && step != "resize" {
		return nil, nil
	}
	o, err := parse(r.Properties)
	if err != nil {
		return nil, err
	}
	return implicitDisks(r, o)
}

// soon brings a reconciler back as soon as its result is stored.
const soon = time.Nanosecond

// How long the interfaces and public addresses may take to show a change, and how often they are looked at.
const (
	tellLimit = 10 * time.Second
	tellPause = 5 * time.Millisecond
)

// tell wakes the interfaces and holds the operation back until they show the
// change: who sees it end can read the address.
func (f vmReconciler) tell(ctx context.Context, v arm.View, r *arm.Resource, p *private) (done bool, err error) {
	if len(p.Wake) == 0 {
		return true, nil
	}
	shown := true
	for _, s := range p.Wake {
		id, err := arm.ParseID(s)
		if err != nil {
			return false, err
		}
		ok, err := f.shows(ctx, v, id, r, p)
		if err != nil {
			return false, err
		}
		if !ok {
			shown = false
			v.Enqueue(id)
		}
	}
	if !shown && f.cfg.Clock.Now().Before(p.TellBy) {
		return false, nil
	}
	if !shown {
		f.cfg.Logger.Warn("network interfaces do not show a change of their VM", "vm", r.ID.String())
	}
	p.Wake = nil
	return true, nil
}

// shows reports whether an interface and its public addresses know of the VM what is so.
func (f vmReconciler) shows(ctx context.Context, v arm.View, id arm.ID, r *arm.Resource, p *private) (bool, error) {
	n, err := v.Get(ctx, id)
	if isNotFound(err) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	var w nicProperties
	if err := json.Unmarshal(n.Properties, &w); err != nil {
		return false, err
	}
	linked := w.VirtualMachine != nil && same(w.VirtualMachine.ID, r.ID.String())
	if linked != (!p.Gone && p.has(id.String())) {
		return false, nil
	}
	for _, c := range w.IPConfigurations {
		if c.Properties.PublicIPAddress == nil {
			continue
		}
		public, err := arm.ParseID(c.Properties.PublicIPAddress.ID)
		if err != nil {
			return false, err
		}
		a, err := v.Get(ctx, public)
		if isNotFound(err) {
			continue
		} else if err != nil {
			return false, err
		}
		o, err := parse(a.Properties)
		if err != nil {
			return false, err
		}
		want := ""
		if linked && p.addressable(o) {
			want = p.Address
		}
		if static := o.text("publicIPAllocationMethod") == "Static"; o.text("ipAddress") != want && !(static && want == "") {
			return false, nil
		}
	}
	return true, nil
}

// addressable says whether a public address is given to the VM as it stands.
func (p private) addressable(public object) bool {
	return p.Address != "" && (p.Want != "deallocated" || public.text("publicIPAllocationMethod") == "Static")
}

func (p private) has(nic string) bool {
	return slices.ContainsFunc(p.NICs, func(n string) bool { return same(n, nic) })
}

// giveUp makes what is so what is wanted, for the operation has failed; it ends once the rest is told.
func (p *private) giveUp(power string, why *arm.Error) {
	p.Failure = &failure{why.Status, why.Code, why.Message}
	p.LastFailure = p.Failure
	p.Created, p.Want = true, power
	p.Changed, p.Again, p.Command = p.Changes, "", nil
}

// perform does one step for real. What is the machine's fault and won't mend by
// itself comes back as an *arm.Error.
func (f vmReconciler) perform(ctx context.Context, v arm.View, step string, m *machine, r *arm.Resource, p *private) (err error) {
	switch step {
	case "create", "start", "restart", "redeploy", "reimage", "resize":
		if f.fails(step) {
			return allocationFailed("We do not have sufficient capacity for the requested VM size in this region. Read more about improving likelihood of allocation success at http://aka.ms/allocation-guidance")
		}
		defer func() {
			if errors.Is(err, syscall.ENOSPC) {
				err = startError(err) // trying again makes no room
			}
		}()
		if err := f.ready(ctx, step, m, r, p); err != nil {
			return err
		}
		if err := f.connect(ctx, v, m, r.ID, *p); err != nil {
			return err
		}
		if step == "resize" {
			p.Changed = p.Changes
			if p.Want != "running" {
				return nil
			}
		}
		if err := m.start(ctx); err != nil {
			return startError(err)
		}
		file := m.snapshot()
		p.Address, p.Port = file.Address, file.Port
		if step == p.Again {
			p.Again = ""
		}
		if step == "create" {
			p.Created, p.Changed, p.Provisioned = true, p.Changes, f.cfg.Clock.Now()
		}
	case "powerOff":
		return m.stop(ctx)
	case "deallocate":
		return m.deallocate(ctx)
	case "update":
		p.Changed = p.Changes
		err := errors.Join(f.refreshFirewall(ctx, v, *p), m.save(func(file *machineFile) { file.SerialBlob, _ = serialURL(r, *p) }))
		m.keepLog(ctx)
		return err
	case "delete":
		if err := m.remove(ctx); err != nil {
			return err
		}
		p.Gone = true
	}
	return nil
}

// ready brings a machine to where it can be started.
func (f vmReconciler) ready(ctx context.Context, step string, m *machine, r *arm.Resource, p *private) error {
	switch step {
	case "create":
		return m.save(func(file *machineFile) {
			file.VM, file.Subscription, file.Location, file.Size = r.ID.String(), subscriptionOf(r.ID), r.Location, p.Size
			file.User, file.PasswordHash, file.Keys = p.User, p.PasswordHash, p.Keys
			file.Computer, file.CustomData = computerName(r), p.CustomData
			file.SerialBlob, _ = serialURL(r, *p)
			file.Image = platformName(r)
		})
	case "restart":
		return m.stop(ctx)
	case "redeploy":
		return m.deallocate(ctx)
	case "reimage":
		if err := m.stop(ctx); err != nil {
			return err
		}
		if err := m.erase(ctx); err != nil {
			return err
		}
		return m.save(func(file *machineFile) {
			file.User, file.PasswordHash, file.Keys, file.Users, file.CustomData = p.User, p.PasswordHash, p.Keys, nil, p.CustomData
		})
	case "resize":
		held := m.power() != "deallocated"
		if err := m.deallocate(ctx); err != nil {
			return err
		}
		if err := m.save(func(file *machineFile) { file.Size = p.Size }); err != nil {
			return err
		}
		if held && p.Want == "stopped" {
			return startError(m.hold())
		}
	}
	return nil
}

// connect gives a machine that is about to start its place in the network: the
// firewall, and the static address that is kept for it.
func (f vmReconciler) connect(ctx context.Context, v arm.View, m *machine, vm arm.ID, p private) error {
	if err := f.refreshFirewall(ctx, v, p); err != nil {
		return err
	}
	address, port, err := f.staticAddress(ctx, v, p)
	if err != nil || m.power() == "running" {
		return err
	}
	if address == "" {
		taken, err := f.reserved(ctx, v, vm)
		m.avoid(taken)
		return err
	}
	return m.save(func(file *machineFile) { file.Address, file.Port = address, port })
}

// computerName is the host's name of a VM.
func computerName(r *arm.Resource) string {
	o, err := parse(r.Properties)
	if err != nil {
		return nameOf(r.ID)
	}
	return o.child("osProfile").text("computerName")
}

// platformName is the image of the marketplace that a VM is of, as engines take its name; empty: it is of another.
func platformName(r *arm.Resource) string {
	o, err := parse(r.Properties)
	if err != nil {
		return ""
	}
	i := o.child("storageProfile").child("imageReference")
	if i.text("publisher") == "" {
		return ""
	}
	return strings.Join([]string{i.text("publisher"), i.text("offer"), i.text("sku"), i.text("version")}, ":")
}

// startError tells what failed in the words of the service.
func startError(err error) error {
	var gpu *hardware.NoGPU
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gpu):
		return allocationFailed("This host can't give the VM its GPUs: " + err.Error() + ".")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &arm.Error{Status: 409, Code: "VMStartTimedOut", Message: fmt.Sprintf("VM did not start: %v.", err)}
}
