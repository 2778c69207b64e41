package dsvm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"lazulite.dev/emulator/arm"
)

// ManagedStorage is the account for the logs of VMs that name none: nobody has its
// keys, and it is in no subscription.
const ManagedStorage = "https://lazulitediagnostics.blob.core.windows.net"

// serialURL is where a VM wants its serial log, "" if nowhere: in the container
// and under the name that Microsoft.Compute gives it. own says that the account is the user's.
func serialURL(r *arm.Resource, p private) (url string, own bool) {
	o, err := parse(r.Properties)
	if err != nil {
		return "", false
	}
	on, base := bootDiagnostics(o)
	if !on {
		return "", false
	}
	own = base != ""
	if !own {
		base = ManagedStorage
	}
	short := strings.ToLower(strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, nameOf(r.ID)))
	return strings.TrimSuffix(base, "/") + "/bootdiagnostics-" + short[:min(len(short), 9)] + "-" + p.ID + "/" + nameOf(r.ID) + "." + p.ID + ".serialconsole.log", own
}

// keepLog puts the serial log where the VM wants it.
func (m *machine) keepLog(ctx context.Context) {
	url := m.snapshot().SerialBlob
	if url == "" || m.fake.cfg.KeepLog == nil {
		return
	}
	file, err := os.Open(string(m.serial()))
	if errors.Is(err, os.ErrNotExist) {
		return // it has not booted yet
	}
	if err == nil {
		err = errors.Join(m.fake.cfg.KeepLog(ctx, url, file), file.Close())
	}
	if err != nil {
		m.fake.cfg.Logger.Warn("a VM's serial log is not kept", "vm", m.file.VM, "url", url, "error", err)
	}
}

// bootDiagnostics is whether a VM has them, and the blob service that it names for them, "" if none.
func bootDiagnostics(o object) (on bool, base string) {
	d, _ := o["diagnosticsProfile"].(map[string]any)
	if d == nil {
		return false, ""
	}
	boot := object(d).child("bootDiagnostics")
	on, _ = boot["enabled"].(bool)
	return on, boot.text("storageUri")
}

// How long a URL of retrieveBootDiagnosticsData holds, unless its query says otherwise, and at the most.
const (
	logMinutes    = 120
	maxLogMinutes = 24 * 60
)

// retrieveLog is retrieveBootDiagnosticsData (Microsoft.Compute 2020-06-01): a
// signed URL of the log, wherever that is kept. A screenshot there is none: the machines have no screen.
func (f *Fake) retrieveLog(ctx context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	if arm.CompareVersions(c.Version, "2020-06-01") < 0 {
		return 0, nil, &arm.Error{Status: http.StatusNotFound, Code: "InvalidResourceType", Message: fmt.Sprintf("The resource type 'virtualMachines/retrieveBootDiagnosticsData' could not be found in the namespace 'Microsoft.Compute' for api version '%s'.", c.Version)}
	}
	minutes := logMinutes
	if asked := c.Query["sasUriExpirationTimeInMinutes"]; len(asked) > 0 {
		n, err := strconv.Atoi(asked[0])
		if err != nil || n < 1 || n > maxLogMinutes {
			return 0, nil, invalid("sasUriExpirationTimeInMinutes", fmt.Sprintf("The value '%s' of parameter 'sasUriExpirationTimeInMinutes' is not allowed. Allowed values are from 1 to %d.", asked[0], maxLogMinutes))
		}
		minutes = n
	}
	p, err := privateOf(r)
	if err != nil {
		return 0, nil, err
	}
	at, _ := serialURL(r, p)
	if at == "" || f.cfg.SignLog == nil {
		return 0, nil, &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf("Boot diagnostics is not enabled for VM '%s'.", nameOf(r.ID))}
	}
	f.machine(p.ID).keepLog(ctx) // as it is now
	signed, err := f.cfg.SignLog(ctx, at, f.cfg.Clock.Now().Add(time.Duration(minutes)*time.Minute))
	if err != nil {
		return 0, nil, err
	}
	return 0, object{"serialConsoleLogBlobUri": signed}, nil
}
