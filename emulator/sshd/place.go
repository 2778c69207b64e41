package sshd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Place is where a machine's SSH server listens.
type Place struct {
	Address string
	Port    int
}

// String is host:port.
func (p Place) String() string { return net.JoinHostPort(p.Address, strconv.Itoa(p.Port)) }

// How many places Settle tries.
const placeTries = 16

// DrawPlace draws port 22 of a loopback address of the machine's own, or else a
// high port of 127.0.0.1.
func DrawPlace(dice *rand.Rand, own bool) Place {
	if own {
		return Place{fmt.Sprintf("127.%d.%d.%d", 64+dice.IntN(64), dice.IntN(256), 1+dice.IntN(254)), 22}
	}
	// Below what systems give to outgoing connections.
	return Place{"127.0.0.1", 20000 + dice.IntN(12000)}
}

// Settle opens a server at the first place that draw names and the system lets
// us listen at: port 22 of an address of its own where it may (root on Linux),
// unless highPorts is set, else a high port of 127.0.0.1.
func Settle[S any](ctx context.Context, highPorts bool, draw func(own bool) Place, open func(ctx context.Context, p Place) (S, error)) (S, Place, error) {
	own := !highPorts
	var none S
	var last error
	for range placeTries {
		place := draw(own)
		server, err := open(ctx, place)
		switch {
		case err == nil:
			return server, place, nil
		case own && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EADDRNOTAVAIL)):
			own = false
		case errors.Is(err, syscall.EADDRINUSE):
			// Another try finds another; but a server of the host's own may have port 22 of them all.
			if last != nil {
				own = false
			}
		default:
			return none, Place{}, err
		}
		last = err
	}
	return none, Place{}, fmt.Errorf("sshd: no free address after %d tries: %w", placeTries, last)
}
