package execution

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"lazulite.dev/emulator/clock"
)

// ARM is the resource manager, by which runs are ordered where no machine is ours to log in to.
type ARM interface {
	// Do sends one request and decodes the answer into out (nil: dropped). What the
	// resource manager refuses is an *ARMError.
	Do(ctx context.Context, method, path, apiVersion string, body, out any) error
}

// ARMError is a refusal of the resource manager, in its words.
type ARMError struct {
	Status        int
	Code, Message string
}

// Error implements error.
func (e *ARMError) Error() string { return e.Code + ": " + e.Message }

func armStatus(err error) int {
	var e *ARMError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Files that are staged in the workspace's storage account for an ordered run,
// and the one that it may leave there.
const (
	stagedProject = "project.zip"
	stagedSetup   = "setup.zip"
	stagedFailure = "failure.json"
)

// patience is how long a run waits in a queue before its details tell why.
const patience = 30 * time.Second

// How often what the order itself keeps of a running job's output is brought
// home, and how much of each file: what is long, the control scripts send.
const (
	logInterval = 5 * time.Second
	outputLimit = 4 << 20
)

// setupVariable is the secret variable by which an ordered run finds its control scripts.
const setupVariable = "AZUREML_SETUP_URL"

// orders is one kind of resource that a run can be ordered as.
type orders interface {
	// id is the ARM id of the job's order: the same whenever it is asked.
	id(j Job) (string, error)
	// place asks for the order to be made. setupURL is a secret.
	place(ctx context.Context, j Job, id, setupURL string) error
	// look tells how far it is; an *ARMError 404: it is not there.
	look(ctx context.Context, id string) (Status, error)
	// end has it stop; it may go on a little.
	end(ctx context.Context, id string) error
	// output hands on what the order itself kept of the job's output.
	output(ctx context.Context, id string, put func(path string, r io.Reader) error) error
	// clear removes what exists for the job alone.
	clear(ctx context.Context, id string) error
}

// orderDriver runs jobs as resources that it orders from the resource manager.
// Project and control scripts are staged in the workspace's storage account;
// the job fetches them by a URL with a signature.
type orderDriver struct {
	orders orders
	assets Assets
	clock  clock.Clock
	log    *slog.Logger
	poll   time.Duration
}

var _ Driver = (*orderDriver)(nil)

// Submit implements Driver.
func (d *orderDriver) Submit(ctx context.Context, j Job) (Handle, error) {
	id, err := d.orders.id(j)
	if err != nil {
		return Handle{}, err
	}
	if err := d.stage(ctx, j); err != nil {
		return Handle{}, err
	}
	h := Handle{Order: id}
	if err := j.Save(h); err != nil {
		return Handle{}, err
	}
	return d.place(ctx, j, h)
}

func (d *orderDriver) stage(ctx context.Context, j Job) error {
	inv, err := j.Invocation(ctx, "")
	if err != nil {
		return err
	}
	expiry := d.clock.Now().Add(accessTime)
	if j.Project != "" {
		f, err := os.Open(j.Project)
		if err != nil {
			return fmt.Errorf("execution: %w", err)
		}
		defer func() { _ = f.Close() }()
		if err := d.assets.Stage(ctx, j.Workspace, j.RunID, stagedProject, f); err != nil {
			return err
		}
	}
	if inv.credentials.Project, err = d.assets.StagedURL(ctx, j.Workspace, j.RunID, stagedProject, "r", expiry); err != nil {
		return err
	}
	if inv.credentials.Failure, err = d.assets.StagedURL(ctx, j.Workspace, j.RunID, stagedFailure, "cw", expiry); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := inv.write(&b); err != nil {
		return err
	}
	return d.assets.Stage(ctx, j.Workspace, j.RunID, stagedSetup, &b)
}

// place makes the order. One that is there already is the job's own: its id is made of the run's.
func (d *orderDriver) place(ctx context.Context, j Job, h Handle) (Handle, error) {
	url, err := d.assets.StagedURL(ctx, j.Workspace, j.RunID, stagedSetup, "r", d.clock.Now().Add(accessTime))
	if err != nil {
		return h, err
	}
	err = d.orders.place(ctx, j, h.Order, url)
	if armStatus(err) == http.StatusConflict {
		if _, lerr := d.orders.look(ctx, h.Order); lerr == nil {
			err = nil
		}
	}
	if err != nil {
		return h, refusal(err)
	}
	h.Placed = true
	return h, j.Save(h)
}

// refusal makes a ConnectError of what another try won't mend.
func refusal(err error) error {
	var e *ARMError
	if !errors.As(err, &e) {
		return err
	}
	if e.Status >= 500 || e.Status == http.StatusTooManyRequests {
		return connectError(Unreachable, "%s", e.Message)
	}
	return connectError(Refused, "%s", e.Message)
}

// Resume implements Driver.
func (d *orderDriver) Resume(ctx context.Context, j Job, h Handle) error {
	if h.Placed {
		return nil
	}
	if _, err := d.orders.look(ctx, h.Order); armStatus(err) != http.StatusNotFound {
		return err
	}
	_, err := d.place(ctx, j, h)
	return err
}

// Status implements Driver.
func (d *orderDriver) Status(ctx context.Context, j Job, h Handle, report func(Status)) error {
	last, since := "", d.clock.Now()
	had, brought := map[string][sha256.Size]byte{}, since
	for told := false; ; {
		st, err := d.orders.look(ctx, h.Order)
		switch {
		case armStatus(err) == http.StatusNotFound:
			report(Status{Phase: "gone", Inferred: true, Said: fmt.Sprintf("%s was deleted.", h.Order)})
			return nil
		case err != nil:
			return err
		}
		if st.Phase == "ended" {
			if st.Result == "Failed" {
				d.explain(ctx, j, &st)
			}
			report(st)
			return nil
		}
		if st.Phase != last {
			if st.Phase == "queued" && last != "" {
				j.Warn(ctx, "The run lost its nodes and waits in the cluster's queue again; it will start from the beginning.")
			}
			last, since, told = st.Phase, d.clock.Now(), false
			report(st)
		}
		if st.Phase == "queued" && st.Said != "" && !told && d.clock.Now().Sub(since) >= patience {
			told = true
			j.Warn(ctx, "The run is still in the queue: "+st.Said)
		}
		if st.Phase == "preparing" && d.clock.Now().Sub(brought) >= logInterval {
			if err := d.bring(ctx, j, h, had); err != nil && ctx.Err() == nil {
				d.log.Info("logs of a run are not to be had yet", "run", j.RunID, "err", err)
			}
			brought = d.clock.Now()
		}
		t := d.clock.NewTimer(d.poll)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// bring has as the run's logs what the order itself kept of its output; had is what is there already.
func (d *orderDriver) bring(ctx context.Context, j Job, h Handle, had map[string][sha256.Size]byte) error {
	err := d.orders.output(ctx, h.Order, func(path string, r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, outputLimit))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		if had[path] == sum {
			return nil
		}
		if err := j.Log(ctx, path, bytes.NewReader(b)); err != nil {
			return err
		}
		had[path] = sum
		return nil
	})
	if armStatus(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// explain puts the reason that the job itself left in the place of its order's.
func (d *orderDriver) explain(ctx context.Context, j Job, st *Status) {
	b, err := d.assets.Staged(ctx, j.Workspace, j.RunID, stagedFailure, 64<<10)
	if err != nil {
		d.log.Warn("the reason that a run left cannot be read", "run", j.RunID, "err", err)
	}
	var left StatusError
	if len(b) > 0 && json.Unmarshal(b, &left) == nil && left.Message != "" {
		st.Error = &left
	}
}

// Cancel implements Driver.
func (d *orderDriver) Cancel(ctx context.Context, j Job, h Handle) error {
	err := d.orders.end(ctx, h.Order)
	for err == nil {
		var st Status
		if st, err = d.orders.look(ctx, h.Order); err != nil || st.Phase == "ended" {
			break
		}
		t := d.clock.NewTimer(d.poll)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	if armStatus(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// Logs implements Driver.
func (d *orderDriver) Logs(ctx context.Context, j Job, h Handle) error {
	return d.bring(ctx, j, h, map[string][sha256.Size]byte{})
}

// Release implements Driver.
func (d *orderDriver) Release(ctx context.Context, j Job, h Handle, finished bool) error {
	if !finished {
		return nil
	}
	if h.Order != "" {
		if err := d.orders.clear(ctx, h.Order); err != nil && armStatus(err) != http.StatusNotFound {
			return err
		}
	}
	return d.assets.Unstage(ctx, j.Workspace, j.RunID)
}

// orderName makes a resource's name of a run's id: its letters as far as they
// fit, and a hash that no other run has.
func orderName(j Job, limit int) string {
	sum := sha256.Sum256([]byte(strings.ToLower(j.Workspace.GUID) + "/" + j.RunID))
	var b strings.Builder
	for _, r := range strings.ToLower(j.RunID) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	stem := strings.Trim(b.String()[:min(b.Len(), limit-9)], "-")
	return stem + "-" + hex.EncodeToString(sum[:4])
}

// bootstrap is the shell command with which an ordered job begins: it fetches
// the control scripts into a folder of the job's own and hands over to them.
// It holds no single quote, so that it can stand between two.
const bootstrap = `d="${AZ_BATCHAI_JOB_TEMP:-$HOME}/azureml"; umask 077; rm -rf "$d"; mkdir -p "$d"; cd "$d" || exit 1; ` +
	`for p in python3 python /usr/bin/python3 /usr/local/bin/python3 /opt/conda/bin/python none; do ` +
	`"$p" -c "import sys; sys.exit(sys.version_info < (3, 5))" >/dev/null 2>&1 && break; done; ` +
	`[ "$p" != none ] || { echo "No Python 3.5 or later was found in the image; the control script of the run needs one." >&2; exit 1; }; ` +
	`for i in 1 2 3 4 5; do "$p" -c "import io, os, urllib.request, zipfile; ` +
	`zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(os.environ[\"` + setupVariable + `\"], timeout=120).read())).extractall()" && break; sleep 1; done; `

// started is the control script's own start, below the folder of bootstrap.
func started(mode string) string {
	return strings.TrimRight(`exec /bin/bash "${AZ_BATCHAI_JOB_TEMP:-$HOME}/azureml/azureml-setup/Invocation.sh" `+mode, " ")
}
