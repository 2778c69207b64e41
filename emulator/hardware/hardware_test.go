package hardware_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lazulite.dev/emulator/hardware"
)

func TestSize(t *testing.T) {
	for _, c := range []struct {
		name, want       string
		cores, mem, gpus int
		model            string
	}{
		{"Standard_D2_v2", "Standard_D2_v2", 2, 7168, 0, ""},
		{"STANDARD_d2_V2", "Standard_D2_v2", 2, 7168, 0, ""},
		{"standard_ds14-8_v2", "Standard_DS14-8_v2", 16, 114688, 0, ""},
		{"Standard_NC6", "Standard_NC6", 6, 57344, 1, "Tesla K80"},
		{"STANDARD_NC24RS_V3", "Standard_NC24rs_v3", 24, 458752, 4, "Tesla V100-PCIE-16GB"},
		{"Standard_ND12s", "Standard_ND12s", 12, 229376, 2, "Tesla P40"},
	} {
		s, ok := hardware.Size(c.name)
		if !ok || s.Name != c.want || s.Cores != c.cores || s.MemoryMB != c.mem || s.GPUs != c.gpus || s.GPUModel != c.model {
			t.Errorf("Size(%q) = %+v, %v", c.name, s, ok)
		}
	}
	for _, name := range []string{"", "Standard_D2", "Standard_D2_v9", " Standard_D2_v2"} {
		if s, ok := hardware.Size(name); ok && !strings.EqualFold(s.Name, name) {
			t.Errorf("Size(%q) = %+v", name, s)
		}
	}
	if _, ok := hardware.Size("Standard_D2_v9"); ok {
		t.Error("Standard_D2_v9 was never sold")
	}
}

// later is the family that came after 2018: it has no temporary disk, and no recording of then shows it.
const later = "standardDSv5Family"

func TestTableIsWhole(t *testing.T) {
	families := map[string]bool{}
	for _, f := range hardware.Families() {
		families[f.Name] = true
	}
	for _, s := range hardware.Sizes("") {
		if s.Cores < 1 || s.MemoryMB < 768 || s.MaxDataDisks < 1 || (s.ResourceDiskMB < 2048) != (s.Family == later) || s.OSDiskMB != 1047552 || !families[s.Family] || len(s.Regions) == 0 {
			t.Errorf("odd row: %+v", s)
		}
		if s.GPUs > 0 != (s.GPUModel != "") {
			t.Errorf("GPU without a model or the reverse: %+v", s)
		}
	}
	locations := map[string]bool{"*": true}
	for _, l := range hardware.Locations() {
		locations[l] = true
	}
	for _, s := range hardware.Sizes("") {
		for _, r := range s.Regions {
			if !locations[r] {
				t.Errorf("%s is sold in %s, which is no location", s.Name, r)
			}
		}
	}
	for name, want := range map[string]bool{"Standard_DS1_v2": true, "Standard_B1s": true, "Standard_D1_v2": false, "Standard_NC6": false, "Standard_NC6s_v3": true} {
		if s, _ := hardware.Size(name); s.Premium() != want {
			t.Errorf("%s premium: %v", name, s.Premium())
		}
	}
	if nc, _ := hardware.Size("Standard_NC6"); nc.SoldIn("westus") || !nc.SoldIn("East US") {
		t.Error("NC6 was sold in East US and not in West US")
	}
}

// The list that the real service gave for westus in autumn 2018.
func TestSizesAsRecorded(t *testing.T) {
	shared := os.Getenv("LAZULITE_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	data, err := os.ReadFile(filepath.Join(shared, "recordings/vm/test_vm_size_list.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no recordings: set LAZULITE_SHARED")
	} else if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Interactions []struct {
			Response struct{ Body struct{ String string } }
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name                                                                              string
		NumberOfCores, OSDiskSizeInMB, ResourceDiskSizeInMB, MemoryInMB, MaxDataDiskCount int
	}
	var list struct{ Value []row }
	for _, i := range file.Interactions {
		if err := json.Unmarshal([]byte(i.Response.Body.String), &list); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]row{}
	for _, r := range list.Value {
		want[r.Name] = r
	}
	if len(want) < 100 {
		t.Fatalf("the recording has %d sizes only", len(want))
	}
	for _, s := range hardware.Sizes("West US") {
		if s.Family == later {
			continue
		}
		got := row{Name: s.Name, NumberOfCores: s.Cores, OSDiskSizeInMB: s.OSDiskMB, ResourceDiskSizeInMB: s.ResourceDiskMB, MemoryInMB: s.MemoryMB, MaxDataDiskCount: s.MaxDataDisks}
		if got != want[s.Name] {
			t.Errorf("got %+v, recorded %+v", got, want[s.Name])
		}
		delete(want, s.Name)
	}
	for name := range want {
		t.Errorf("%s was on sale in westus, the table lacks it there", name)
	}
}

func TestAcquire(t *testing.T) {
	probes := 0
	h := hardware.New(hardware.Config{Cores: 4, MemoryMB: 8192, GPUs: func() ([]hardware.GPU, error) {
		probes++
		return []hardware.GPU{{UUID: "GPU-a"}, {Index: 1, UUID: "GPU-b"}}, nil
	}})
	d14, _ := hardware.Size("Standard_D14_v2")
	nc6, _ := hardware.Size("Standard_NC6")
	l, releaseD, err := h.Acquire(d14)
	if err != nil || l.CPU != 4 || l.Memory != 8192<<20 || l.GPUs != nil {
		t.Fatalf("D14_v2 on 4 cores: %+v, %v", l, err)
	}
	if probes != 0 {
		t.Error("the GPUs were looked at for a size that has none")
	}
	a, releaseA, err := h.Acquire(nc6)
	if err != nil || len(a.GPUs) != 1 {
		t.Fatalf("first NC6: %+v, %v", a, err)
	}
	b, releaseB, err := h.Acquire(nc6)
	if err != nil || len(b.GPUs) != 1 || b.GPUs[0] == a.GPUs[0] {
		t.Fatalf("second NC6: %+v, %v", b, err)
	}
	_, _, err = h.Acquire(nc6)
	var no *hardware.NoGPU
	if !errors.As(err, &no) || no.Want != 1 || no.Free != 0 || no.Have != 2 {
		t.Fatalf("third NC6: %v", err)
	}
	if u := h.Usage(); u != (hardware.Usage{Machines: 3, Cores: 28, MemoryMB: 114688 + 2*57344, GPUs: 2}) {
		t.Errorf("usage %+v", u)
	}
	releaseB()
	releaseB()
	if c, releaseC, err := h.Acquire(nc6); err != nil || c.GPUs[0] != b.GPUs[0] {
		t.Errorf("after a release: %+v, %v", c, err)
	} else {
		releaseC()
	}
	releaseA()
	releaseD()
	if u := h.Usage(); u != (hardware.Usage{}) {
		t.Errorf("after all releases: %+v", u)
	}
	if probes != 1 {
		t.Errorf("%d probes", probes)
	}
}

func TestAcquireWithoutGPUs(t *testing.T) {
	nc6, _ := hardware.Size("Standard_NC6")
	broken := errors.New("driver mismatch")
	none := func() ([]hardware.GPU, error) { return nil, broken }
	_, _, err := hardware.New(hardware.Config{GPUs: none}).Acquire(nc6)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "Standard_NC6 needs 1 GPU") {
		t.Errorf("refusal: %v", err)
	}
	l, release, err := hardware.New(hardware.Config{GPUs: none, WithoutGPUs: true}).Acquire(nc6)
	if err != nil || len(l.GPUs) != 0 {
		t.Fatalf("lent without: %+v, %v", l, err)
	}
	release()
}

// However many ask at once, no GPU has two holders and the account ends at nothing.
func TestAcquireAtOnce(t *testing.T) {
	h := hardware.New(hardware.Config{GPUs: func() ([]hardware.GPU, error) {
		return []hardware.GPU{{UUID: "a"}, {UUID: "b"}, {UUID: "c"}}, nil
	}})
	nc6, _ := hardware.Size("Standard_NC6")
	var mu sync.Mutex
	held := map[string]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 100 {
				l, release, err := h.Acquire(nc6)
				if err != nil {
					continue
				}
				mu.Lock()
				held[l.GPUs[0]]++
				if held[l.GPUs[0]] > 1 {
					t.Errorf("%s has two holders", l.GPUs[0])
				}
				mu.Unlock()
				mu.Lock()
				held[l.GPUs[0]]--
				mu.Unlock()
				release()
			}
		})
	}
	wg.Wait()
	if u := h.Usage(); u != (hardware.Usage{}) {
		t.Errorf("left over: %+v", u)
	}
}

func TestRealHost(t *testing.T) {
	h := hardware.New(hardware.Config{})
	if h.Cores() < 1 || h.MemoryMB() < 256 {
		t.Errorf("%d cores, %d MB", h.Cores(), h.MemoryMB())
	}
	sees, why := hardware.SeesGPUs()
	gpus, err := h.GPUs()
	if !sees && (err == nil || err.Error() != why || len(gpus) != 0) {
		t.Errorf("a build that sees no GPUs says %v, %v", gpus, err)
	}
}
