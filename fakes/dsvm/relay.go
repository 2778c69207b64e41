package dsvm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
)

// relay passes connections at the machine's address on to the SSH server
// inside, if the firewall lets them in.
type relay struct {
	*engine.Relay
	upstream string
	host     sshd.Host
}

func openRelay(ctx context.Context, endpoint, upstream string, admit func(net.Addr) bool, host sshd.Host) (server, error) {
	r, err := engine.OpenRelay(ctx, engine.RelayConfig{Listen: endpoint, Upstream: upstream, Admit: admit})
	if err != nil {
		return nil, err
	}
	return &relay{r, upstream, host}, nil
}

// HostKeys are those of the server inside, as authorized_keys writes keys.
func (r *relay) HostKeys() []string { return r.host.Keys }

// Release implements releaser.
func (r *relay) Release() string { return r.host.Release }

// greetPause is between two looks whether the server inside has begun to listen.
const greetPause = 3 * time.Millisecond

// Check waits until the server inside greets.
func (r *relay) Check(ctx context.Context) error {
	for {
		err := r.greeted(ctx)
		if err == nil {
			return nil
		}
		t := time.NewTimer(greetPause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("dsvm: the machine's sshd does not answer: %w", err)
		}
	}
}

func (r *relay) greeted(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.upstream)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "SSH-2.0-") {
		return fmt.Errorf("it says %q", line)
	}
	return nil
}
