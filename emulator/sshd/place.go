package sshd

import (
	"math/rand/v2"
	"net"
	"strconv"

	"lazulite.dev/emulator/engine"
)

// machines are 127.64.0.0 to 127.127.255.255.
const machines engine.LoopbackBlock = 64

// Place is where a machine's SSH server listens.
type Place struct {
	Address string
	Port    int
}

// String is host:port.
func (p Place) String() string { return net.JoinHostPort(p.Address, strconv.Itoa(p.Port)) }

// DrawPlace draws port 22 of a loopback address of the machine's own, or else a
// high port of 127.0.0.1, for engine.Settle.
func DrawPlace(dice *rand.Rand, own bool) Place {
	if own {
		return Place{engine.DrawLoopback(dice, machines), 22}
	}
	// Below what systems give to outgoing connections.
	return Place{"127.0.0.1", 20000 + dice.IntN(12000)}
}
