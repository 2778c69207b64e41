package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
)

// How many places Settle tries.
const placeTries = 16

// LoopbackBlock is the /10 of 127.0.0.0/8 whose addresses DrawLoopback draws:
// 64 for 127.64.0.0 to 127.127.255.255. Kinds of machines have one each.
type LoopbackBlock int

// DrawLoopback draws an address of this host's loopback, of which Linux has them all.
func DrawLoopback(dice *rand.Rand, block LoopbackBlock) string {
	return fmt.Sprintf("127.%d.%d.%d", int(block)+dice.IntN(64), dice.IntN(256), 1+dice.IntN(254))
}

// Settle opens something at the first place that draw names and the system lets
// us listen at: at an address of its own where it may (on Linux; root, below
// port 1024), if own is set, else at what draw names instead.
func Settle[P, S any](ctx context.Context, own bool, draw func(own bool) P, open func(ctx context.Context, at P) (S, error)) (S, P, error) {
	var none S
	var nowhere P
	var last error
	for range placeTries {
		at := draw(own)
		opened, err := open(ctx, at)
		switch {
		case err == nil:
			return opened, at, nil
		case own && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EADDRNOTAVAIL)):
			own = false
		case errors.Is(err, syscall.EADDRINUSE):
			// Another try finds another; but a server of the host's own may have that port of them all.
			if last != nil {
				own = false
			}
		default:
			return none, nowhere, err
		}
		last = err
	}
	return none, nowhere, fmt.Errorf("engine: no free address after %d tries: %w", placeTries, last)
}
