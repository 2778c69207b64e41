package conformance_test

import (
	"path/filepath"
	"testing"

	"lazulite.dev/conformance/openapi/openapitest"
	"lazulite.dev/conformance/replay"
	"lazulite.dev/emulator"
)

// TestRecordings plays all recorded traffic of real Azure that is at hand: the
// emulator answers each request as Azure did. Those of container groups need
// Docker and images, and are played by emulator's TestContainerRecordings.
func TestRecordings(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(openapitest.Shared(), "recordings", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) == 0 {
		t.Skip("no recordings at hand (LAZULITE_SHARED)")
	}
	_, _, noSpark := emulator.FindSpark(spark())
	for _, folder := range folders {
		name := filepath.Base(folder)
		if name == "container" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if noSpark != nil && name != "batchai" && name != "vm" {
				t.Skip(noSpark)
			}
			t.Parallel()
			cfg := emulated(t, "")
			files, err := filepath.Glob(filepath.Join(folder, "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			rep, err := replay.Run(t.Context(), replay.Config{Wire: cfg.Wire(), Subscription: cfg.Subscription}, files)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rep.Files {
				if f.Error != "" || len(f.Left) > 0 {
					t.Errorf("%s: %s; left behind: %q", f.Name, f.Error, f.Left)
				}
				for _, r := range f.Requests {
					if len(r.Differences) > 0 {
						t.Errorf("%s #%d %s %s: %v", filepath.Base(f.Name), r.N, r.Method, r.URL, r.Differences)
					}
				}
			}
			t.Log(rep.Share())
			if !rep.OK() || rep.Counted < 20 {
				t.Errorf("%s", rep.Share())
			}
		})
	}
}
