package emulator

import (
	"context"

	"lazulite.dev/emulator/engine"
)

// direct is what no proxy is asked for: the container itself, and private
// networks, by which the machines of a cluster speak to each other.
const (
	direct       = "127.0.0.1,localhost,::1"
	directInside = direct + ",10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
	// loopback is for processes of this host: container groups have addresses of it.
	loopback = ",127.0.0.0/8"
)

// network is what a container needs to reach emulated Azure by Azure's own
// names, whatever engine runs it: the proxy where containers reach it, and the
// bundle of certificates, mounted at its own path. It goes beneath the
// variables that a user gives the container, and is never shown on the wire. On
// the process engine what machines have of this host comes with it. Who runs
// machines that speak to each other by names adds these to NO_PROXY and no_proxy.
func (e *Emulator) network(ctx context.Context) (env []string, mounts []engine.Mount, err error) {
	addr := e.front.Addr()
	if r, ok := e.engine.(engine.Reacher); ok {
		if addr, err = r.Reach(ctx, addr); err != nil {
			return nil, nil, err
		}
	}
	around := directInside
	if e.engine.Name() == "process" {
		env = append(env, e.cfg.Environment...)
		around += loopback
	}
	proxy, bundle := "http://"+addr, e.front.BundleFile()
	// curl reads http_proxy in small letters alone, most others either.
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		env = append(env, name+"="+proxy)
	}
	env = append(env, "NO_PROXY="+around, "no_proxy="+around)
	for _, name := range bundleVariables {
		env = append(env, name+"="+bundle)
	}
	return env, []engine.Mount{{Source: bundle, Target: bundle, ReadOnly: true}}, nil
}
