package guest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// harmless are the members of a HostConfig that concern nothing but the container itself.
var harmless = set(`AutoRemove RestartPolicy CapDrop ReadonlyRootfs Tmpfs ShmSize Ulimits Init GroupAdd ConsoleSize ContainerIDFile
	Memory MemorySwap MemoryReservation MemorySwappiness KernelMemory KernelMemoryTCP NanoCpus CpuShares CpuPeriod CpuQuota CpusetCpus CpusetMems
	BlkioWeight PidsLimit OomScoreAdj OomKillDisable
	Dns DnsOptions DnsSearch ExtraHosts Links`) // Docker itself refuses the last beside a shared network

// capabilities that every container has, and may be given by name.
var capabilities = set("AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT")

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}

func notOffered(member string) error {
	return refuse(http.StatusForbidden, "HostConfig.%s is not offered by the Docker of this machine, which is a container itself", member)
}

// zero says whether a member says nothing.
func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		return v == "0" || v == "-1"
	case []any:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	}
	return false
}

// create makes a container, as one of the machine.
func (c *call) create() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	host, _ := body["HostConfig"].(map[string]any)
	if host == nil {
		host = map[string]any{}
	}
	if err := c.confine(host); err != nil {
		var no *refusal
		if errors.As(err, &no) && no.status == http.StatusNotFound {
			no.status = http.StatusConflict // 404 is for the image: clients would pull it
		}
		return err
	}
	body["HostConfig"] = host
	// They belong to networks that it is in by itself.
	for _, member := range []string{"NetworkingConfig", "ExposedPorts"} {
		delete(body, member)
	}
	labels, _ := body["Labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	c.mark(labels)
	body["Labels"] = labels
	if name := c.r.URL.Query().Get("name"); name != "" {
		c.query(func(q url.Values) { q.Set("name", c.cfg.Prefix+strings.TrimPrefix(name, "/")) })
	}
	if err := c.setBody(body); err != nil {
		return err
	}
	return c.pass()
}

// mark gives what the machine makes its labels.
func (g *Guest) mark(labels map[string]any) {
	for name, value := range g.cfg.Labels {
		if delete(labels, name); value != "" {
			labels[name] = value
		}
	}
	labels[g.cfg.Owner[0]] = g.cfg.Owner[1]
}

// confine keeps a container within the machine, or refuses what would lead out of it.
func (c *call) confine(host map[string]any) error {
	for _, step := range []func(map[string]any) error{c.joinNetwork, c.joinNamespaces, c.limitWhole, c.lend, c.shareFiles, c.shareVolumes, c.secure} {
		if err := step(host); err != nil {
			return err
		}
	}
	for member, value := range host {
		if !harmless[member] && !checked[member] && !zero(value) {
			return notOffered(member)
		}
	}
	return nil
}

// checked are the members that the steps of confine have seen to.
var checked = set("NetworkMode PortBindings PublishAllPorts PidMode IpcMode CgroupnsMode Runtime DeviceRequests Binds Mounts VolumesFrom CapAdd SecurityOpt LogConfig")

func text(host map[string]any, member string) string {
	s, _ := host[member].(string)
	return s
}

// joinNetwork: localhost is the machine's own, whatever network was asked for, unless none was.
func (c *call) joinNetwork(host map[string]any) error {
	shared := "container:" + c.cfg.Machine
	switch mode := text(host, "NetworkMode"); {
	case mode == "none":
	case mode == "", mode == "default", mode == "bridge", mode == "host":
		host["NetworkMode"] = shared
	case strings.HasPrefix(mode, "container:"):
		if _, err := c.owned(c.r.Context(), strings.TrimPrefix(mode, "container:")); err != nil {
			return err
		}
		host["NetworkMode"] = shared
	default:
		return refuse(http.StatusNotFound, "network %s not found", mode)
	}
	ports, _ := host["PortBindings"].(map[string]any)
	for port, all := range ports {
		inside, _, _ := strings.Cut(port, "/")
		bindings, _ := all.([]any)
		for _, b := range bindings {
			binding, _ := b.(map[string]any)
			if at := text(binding, "HostPort"); at != "" && at != inside && text(host, "NetworkMode") != "none" {
				return refuse(http.StatusBadRequest, "port %s can't be published as %s: containers share this machine's network, so it is there as %s already. Publish it as -p %s:%s, or have the program listen at %s",
					inside, at, inside, inside, inside, at)
			}
		}
	}
	delete(host, "PortBindings")
	delete(host, "PublishAllPorts")
	return nil
}

// joinNamespaces: what is the host's on a real machine is the machine's here.
func (c *call) joinNamespaces(host map[string]any) error {
	for _, member := range []string{"PidMode", "IpcMode"} {
		switch mode := text(host, member); {
		case mode == "host":
			host[member] = "container:" + c.cfg.Machine
		case strings.HasPrefix(mode, "container:"):
			id, err := c.owned(c.r.Context(), strings.TrimPrefix(mode, "container:"))
			if err != nil {
				return err
			}
			host[member] = "container:" + id
		case mode != "" && mode != "private" && mode != "shareable" && mode != "none":
			return notOffered(member)
		}
	}
	if mode := text(host, "CgroupnsMode"); mode != "" && mode != "private" {
		return notOffered("CgroupnsMode")
	}
	return nil
}

// limitWhole gives a container no more than the machine has, also where it asks for no limit.
func (c *call) limitWhole(host map[string]any) error {
	if c.cfg.Memory > 0 && zero(host["Memory"]) {
		host["Memory"] = json.Number(strconv.FormatInt(c.cfg.Memory, 10))
	}
	if c.cfg.NanoCPUs > 0 && zero(host["NanoCpus"]) && zero(host["CpuQuota"]) {
		host["NanoCpus"] = json.Number(strconv.FormatInt(c.cfg.NanoCPUs, 10))
	}
	return c.limit(host)
}

// limit keeps limits that are given within the machine's.
func (c *call) limit(host map[string]any) error {
	number := func(member string) int64 {
		n, _ := host[member].(json.Number)
		i, _ := n.Int64()
		return i
	}
	if c.cfg.Memory > 0 {
		// There is no swap beside it, as with the machine itself.
		for _, member := range []string{"Memory", "MemorySwap"} {
			if n := number(member); n > c.cfg.Memory || n < 0 {
				host[member] = json.Number(strconv.FormatInt(c.cfg.Memory, 10))
			}
		}
		if m := number("Memory"); m > 0 && number("MemorySwap") == 0 {
			host["MemorySwap"] = json.Number(strconv.FormatInt(m, 10))
		}
	}
	if most := c.cfg.NanoCPUs; most > 0 {
		asked := number("NanoCpus")
		if quota := number("CpuQuota"); quota != 0 {
			period := number("CpuPeriod")
			if period == 0 {
				period = 100_000
			}
			if asked = quota * (1_000_000_000 / max(period, 1)); quota < 0 {
				asked = most + 1
			}
		}
		if cpus := float64(most) / 1e9; asked > most {
			return refuse(http.StatusBadRequest, "Range of CPUs is from 0.01 to %.2f, as there are only %.0f CPUs available", cpus, cpus)
		}
	}
	return nil
}

// lend gives a container GPUs of the machine, by both ways to ask for them.
func (c *call) lend(host map[string]any) error {
	asked, _ := host["DeviceRequests"].([]any)
	switch runtime := text(host, "Runtime"); runtime {
	case "", "runc":
	case "nvidia":
		if len(c.cfg.GPUs) == 0 {
			return refuse(http.StatusBadRequest, "Unknown runtime specified nvidia")
		}
		delete(host, "Runtime")
		if len(asked) == 0 {
			asked = []any{map[string]any{"Driver": "nvidia", "Count": json.Number("-1"), "Capabilities": []any{[]any{"gpu"}}}}
		}
	default:
		return refuse(http.StatusBadRequest, "Unknown runtime specified %s", runtime)
	}
	for _, a := range asked {
		request, _ := a.(map[string]any)
		if driver := text(request, "Driver"); request == nil || driver != "" && driver != "nvidia" || len(c.cfg.GPUs) == 0 {
			return refuse(http.StatusBadRequest, "could not select device driver %q with capabilities: [[gpu]]", text(request, "Driver"))
		}
		ids, err := c.gpus(request)
		if err != nil {
			return err
		}
		request["Driver"], request["Count"], request["DeviceIDs"] = "nvidia", json.Number("0"), ids
	}
	if len(asked) > 0 {
		host["DeviceRequests"] = asked
	}
	return nil
}

// gpus are those of the machine that a request is for: some number of them, or by number or name.
func (c *call) gpus(request map[string]any) ([]string, error) {
	named, _ := request["DeviceIDs"].([]any)
	if len(named) == 0 {
		count, _ := request["Count"].(json.Number)
		n, err := count.Int64()
		if err != nil || n < 0 {
			return c.cfg.GPUs, nil
		}
		if n > int64(len(c.cfg.GPUs)) {
			return nil, refuse(http.StatusBadRequest, "%d GPUs were requested, and this machine has %d", n, len(c.cfg.GPUs))
		}
		return c.cfg.GPUs[:n], nil
	}
	var out []string
	for _, one := range named {
		name, _ := one.(string)
		found := ""
		for i, id := range c.cfg.GPUs {
			if name == id || name == strconv.Itoa(i) {
				found = id
			}
		}
		if found == "" {
			return nil, refuse(http.StatusBadRequest, "nvidia-container-cli: device error: %s: unknown device", name)
		}
		out = append(out, found)
	}
	return out, nil
}

// secure refuses privileges.
func (c *call) secure(host map[string]any) error {
	added, _ := host["CapAdd"].([]any)
	for _, a := range added {
		name, _ := a.(string)
		if !capabilities[strings.TrimPrefix(strings.ToUpper(name), "CAP_")] {
			return notOffered("CapAdd " + name)
		}
	}
	options, _ := host["SecurityOpt"].([]any)
	for _, o := range options {
		if option, _ := o.(string); !strings.HasPrefix(option, "no-new-privileges") {
			return notOffered("SecurityOpt " + option)
		}
	}
	for _, member := range []string{"MaskedPaths", "ReadonlyPaths"} {
		if host[member] != nil { // an empty one too: it unmasks
			return notOffered(member)
		}
	}
	log, _ := host["LogConfig"].(map[string]any)
	switch kind := text(log, "Type"); kind {
	case "", "json-file", "local", "none":
	default:
		return notOffered("LogConfig " + kind)
	}
	return nil
}
