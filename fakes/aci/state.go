package aci

// view is the group's instance view; those of the containers are put into g.
func (p *pod) view(g *groupProperties) *groupView {
	p.mu.Lock()
	defer p.mu.Unlock()
	views := map[string]*containerView{}
	for _, m := range p.file.Members {
		v := m.View.copy()
		views[m.Name] = v
	}
	g.every(func(c *containerItem, _ bool) { c.Properties.InstanceView = views[c.Name] })
	events := copyEvents(p.file.Events)
	return &groupView{Events: &events, State: p.file.state()}
}

// state is the group's word for what its containers do.
func (f *podFile) state() string {
	if f.Stopped {
		return "Stopped"
	}
	first := 0
	if f.Order.Spec != nil {
		first = len(f.Order.Spec.InitContainers)
	}
	terminated, failed, started := 0, false, false
	for i, m := range f.Members {
		s := m.View.CurrentState
		bad := s.ExitCode != nil && *s.ExitCode != 0
		if i < first {
			// An init container that has failed for good lets nothing else begin.
			if m.Done && bad {
				return "Failed"
			}
			continue
		}
		started = started || m.Started
		if s.State == "Terminated" {
			terminated++
			failed = failed || bad
		}
	}
	switch {
	case len(f.Members) > first && terminated == len(f.Members)-first && failed:
		return "Failed"
	case len(f.Members) > first && terminated == len(f.Members)-first:
		return "Succeeded"
	case started:
		return "Running"
	}
	return "Pending"
}

// events are those of all containers.
func (p *pod) events() []*event {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := copyEvents(p.file.Events)
	for _, m := range p.file.Members {
		out = append(out, copyEvents(m.View.Events)...)
	}
	return out
}

func copyEvents(events []*event) []*event {
	out := make([]*event, len(events))
	for i, e := range events {
		out[i] = pointer(*e)
	}
	return out
}

func (v containerView) copy() *containerView {
	for _, s := range []**containerState{&v.CurrentState, &v.PreviousState} {
		if *s != nil {
			*s = pointer(**s)
		}
	}
	v.Events = copyEvents(v.Events)
	return &v
}
