package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"lazulite.dev/emulator"
)

// errDown says that no emulator is running where the caller looked.
var errDown = errors.New("no lazulite is up (start one with `lazulite up --detach`)")

// instance is a running emulator as another process finds it.
type instance struct {
	Status   emulator.Status
	Identity emulator.Identity
}

// defaultDir is where an emulator keeps its state when nobody says otherwise.
func defaultDir(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "lazulite")
	}
	home := getenv("HOME")
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "lazulite")
	}
	return filepath.Join(home, ".local", "share", "lazulite")
}

func (m *Main) dir() string {
	if m.data != "" {
		return m.data
	}
	return defaultDir(m.Getenv)
}

// runFile is how a running emulator is found: by its data folder, or, if it
// is ephemeral, by the default folder's pointer to it.
func runFile(dir string) string { return filepath.Join(dir, "run.json") }

// announce writes where the emulator is; the pointer to an ephemeral one stands beside the default folder's state.
func (m *Main) announce(st emulator.Status) (remove func(), err error) {
	dir := st.Dir
	if st.Ephemeral {
		dir = m.dir()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	path := runFile(dir)
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(path) }, nil
}

// find returns the running emulator, asked over its port, or errDown.
func (m *Main) find(ctx context.Context) (*instance, error) {
	b, err := os.ReadFile(runFile(m.dir()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errDown
	}
	if err != nil {
		return nil, err
	}
	var noted emulator.Status
	if err := json.Unmarshal(b, &noted); err != nil {
		return nil, fmt.Errorf("%s: %w", runFile(m.dir()), err)
	}
	in := &instance{}
	if in.Status, err = statusAt(ctx, noted.Address); err != nil || in.Status.PID != noted.PID {
		return nil, errDown
	}
	if in.Identity, err = emulator.ReadIdentity(in.Status.Dir); err != nil {
		return nil, err
	}
	return in, nil
}

// statusAt asks the lazulite at host:port for its status; the error is that none answers there.
func statusAt(ctx context.Context, address string) (st emulator.Status, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/lazulite/status", nil)
	if err != nil {
		return st, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return st, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil || st.PID == 0 || st.Subscription == "" {
		return st, fmt.Errorf("what answers at %s is no lazulite", address)
	}
	return st, nil
}

func (in *instance) env() []emulator.Var {
	return emulator.EnvFor(in.Status.Address, in.Status.Dir, in.Status.CAFile, in.Status.BundleFile, in.Identity)
}

// ask has the emulator do something at once that only who may read its data folder may ask for.
func (in *instance) ask(ctx context.Context, what string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+in.Status.Address+"/lazulite/"+what, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+in.Identity.AdminToken)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusAccepted {
		var said struct{ Error string }
		if json.NewDecoder(resp.Body).Decode(&said) == nil && said.Error != "" {
			return errors.New(said.Error)
		}
		return fmt.Errorf("%s was answered with %s", what, resp.Status)
	}
	return nil
}

// stop asks the emulator to end and waits until its port is closed.
func (in *instance) stop(ctx context.Context) error {
	if err := in.ask(ctx, "stop", nil); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := os.FindProcess(in.Status.PID)
		if err != nil || p.Signal(nullSignal) != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
