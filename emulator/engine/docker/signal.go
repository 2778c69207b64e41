package docker

import (
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lazulite.dev/emulator/engine"
)

const (
	sigTERM = int(syscall.SIGTERM)
	sigKILL = int(syscall.SIGKILL)
)

// exitOf reads a shell's number. Above 128 it is a signal where that was sent
// from here, or is one that no program gives as its own code; TERM, INT and the
// like may as well be what a script passed on.
func exitOf(code int, sent map[int]bool, now time.Time) engine.Exit {
	x := engine.Exit{Code: code, At: now}
	signal := syscall.Signal(code - 128)
	switch signal {
	case syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGSYS:
		x.Signal = signalName(signal)
	default:
		if code > 128 && sent[int(signal)] {
			x.Signal = signalName(signal)
		}
	}
	return x
}

// signalName is as SSH and Docker write it: "KILL".
func signalName(s syscall.Signal) string { return strings.TrimPrefix(unix.SignalName(s), "SIG") }

// Programs for the /bin/sh of an image: no more than a POSIX shell is needed.
const (
	// runScript is a container's command: one stream of both outputs.
	runScript = `exec "$0" "$@" 2>&1`

	// machineScript is what a machine runs: it lasts, whatever is sent to all.
	machineScript = `trap '' TERM HUP INT QUIT; [ ! -d ` + guestFolder + ` ] || ln -sfn docker/docker.sock /run/docker.sock; exec sleep 2147483647`

	// execScript tells its process id, by which the command's session is known
	// from then on, and then becomes the command.
	execScript = `if command -v -- "$0" >/dev/null 2>&1; then echo "+$$" >&2; exec "$0" "$@"; else echo "-$$" >&2; exit 127; fi`

	// ttyScript does the same on a terminal, once that has its size.
	ttyScript = `if command -v -- "$0" >/dev/null 2>&1; then echo "+$$"; read -r _; exec "$0" "$@"; else echo "-$$"; exit 127; fi`

	// membersScript defines each, which lists process and session ids of all
	// that are alive but init and the session of the shell that asks, and
	// members, the process ids of session $1.
	membersScript = `
each() {
  for stat in /proc/[0-9]*/stat; do
    line=; { read -r line <"$stat"; } 2>/dev/null || continue
    pid=${line%% *}; set -- ${line##*) }
    case $1 in Z|X) continue ;; esac
    [ "$pid" = 1 ] || [ "$4" = $$ ] || echo "$pid $4"
  done
}
members() { each | while read -r pid session; do [ "$session" != "$1" ] || echo "$pid"; done; }
`
	// hangUpScript sends signal $1 to all of session $2 and returns when none of it is left.
	hangUpScript = membersScript + `
for pid in $(members "$2"); do kill -"$1" "$pid"; done 2>/dev/null
while [ -n "$(members "$2")" ]; do
  [ "$1" = KILL ] && for pid in $(members "$2"); do kill -KILL "$pid"; done 2>/dev/null
  sleep 0.02
done; exit 0`

	// signalScript sends signal $1 to the process group $2.
	signalScript = `kill -"$1" -"$2"`

	// endScript sends SIGTERM to all; in a machine ($1) it returns when all but what the machine runs are gone.
	endScript = membersScript + `
kill -TERM -1 2>/dev/null
[ -n "$1" ] || exit 0
others() {
  each | while read -r pid session; do echo "$pid"; done | sort -n | { first=; while read -r pid; do
    if [ -z "$first" ]; then first=$pid; else echo "$pid"; fi; done; }
}
while [ -n "$(others)" ]; do sleep 0.02; done; exit 0`
)
