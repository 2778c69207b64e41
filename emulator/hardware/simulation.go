package hardware

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"lazulite.dev/emulator/durable"
)

// The driver that simulated devices have: the one of October 2018.
const (
	simulatedDriver = "410.72"
	simulatedCUDA   = "10.0"
)

// Simulation gives sizes GPUs that this machine does not have. NVML clients and
// nvidia-smi see their model, number and memory; CUDA sees no device.
type Simulation struct {
	// Devices that there are; nil: as many of every model as the sizes ask for.
	Devices []GPU
	// Folder is where BuildStub has put library and program.
	Folder string
	// Dir keeps a table for each group of devices that was lent. It is not
	// emptied: containers that outlive the emulator have them mounted.
	Dir string
}

// Stub is what shows a container its simulated GPUs, by absolute paths on this host.
type Stub struct {
	// Library is a libnvidia-ml.so.1 and SMI an nvidia-smi, in one folder that
	// has nothing else. Both read Table, which is at StubTable in a container or
	// where the variable StubVariable says.
	Library, SMI, Table string
}

// Where a stub looks for its table.
const (
	StubTable    = "/etc/lazulite-gpus"
	StubVariable = "LAZULITE_GPU_TABLE"
)

// ParseDevices reads MODEL:COUNT,... such as K80:4 or "Tesla K80:4,V100:1"; a
// model is one that a size has, by its name or the short of it (V100). Empty text is nil: as many as asked for.
func ParseDevices(text string) ([]GPU, error) {
	if text == "" {
		return nil, nil
	}
	var out []GPU
	for item := range strings.SplitSeq(text, ",") {
		model, number, ok := strings.Cut(strings.TrimSpace(item), ":")
		n, err := strconv.Atoi(number)
		if !ok {
			n, err = 1, nil
		}
		if err != nil || n < 1 || n > 64 {
			return nil, fmt.Errorf("hardware: %q: it is MODEL:COUNT, as in K80:4, with a count of 1 to 64", item)
		}
		size, ok := sizeWith(model)
		if !ok {
			return nil, fmt.Errorf("hardware: no size has a GPU %q: the models are %s", model, strings.Join(models(), ", "))
		}
		had := 0
		for _, g := range out {
			if g.Model == size.GPUModel {
				had++
			}
		}
		if had+n > 64 {
			return nil, fmt.Errorf("hardware: %q: more than 64 of a model", item)
		}
		out = append(out, devices(size, had, n)...)
	}
	return out, nil
}

// sizeWith finds a size by its GPU's name: "Tesla V100-PCIE-16GB", without "Tesla ", or V100.
func sizeWith(model string) (VMSize, bool) {
	for _, s := range table().sizes {
		if s.GPUs == 0 || model == "" {
			continue
		}
		name := strings.TrimPrefix(s.GPUModel, "Tesla ")
		short, _, _ := strings.Cut(name, "-")
		if strings.EqualFold(model, s.GPUModel) || strings.EqualFold(model, name) || strings.EqualFold(model, short) {
			return s, true
		}
	}
	return VMSize{}, false
}

func models() []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range table().sizes {
		if s.GPUs > 0 && !seen[s.GPUModel] {
			seen[s.GPUModel] = true
			out = append(out, s.GPUModel)
		}
	}
	return out
}

// devices makes n of a size's GPUs from an index on. The same index is the same device after every start.
func devices(s VMSize, from, n int) []GPU {
	var out []GPU
	for i := from; i < from+n; i++ {
		sum := hex.EncodeToString(sha256Of("lazulite", s.GPUModel, strconv.Itoa(i)))
		out = append(out, GPU{Index: i, Model: s.GPUModel, MemoryMB: s.GPUMemoryMB, Compute: s.GPUCompute,
			UUID: "GPU-" + sum[:8] + "-" + sum[8:12] + "-" + sum[12:16] + "-" + sum[16:20] + "-" + sum[20:32]})
	}
	return out
}

func sha256Of(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:]
}

// show writes the table of a group of devices.
func (s *Simulation) show(group []GPU) (*Stub, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\t%s\n", simulatedDriver, simulatedCUDA)
	for i, g := range group {
		fmt.Fprintf(&b, "%s\t%s\t%d\t%s\t%08X:00:00.0\n", g.UUID, g.Model, g.MemoryMB, g.Compute, i+1)
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(s.Folder)
	if err != nil {
		return nil, err
	}
	stub := &Stub{Library: filepath.Join(folder, stubLibrary), SMI: filepath.Join(folder, stubSMI),
		Table: filepath.Join(dir, hex.EncodeToString(sha256Of(b.String()))[:16]+".gpus")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return stub, durable.Keep(stub.Table, b.Bytes(), 0o644)
}

const (
	stubLibrary = "libnvidia-ml.so.1"
	stubSMI     = "nvidia-smi"
)

//go:embed stub
var stubFiles embed.FS

// ErrNoCompiler says that the stub can't be built here, and what it takes.
var ErrNoCompiler = errors.New("hardware: simulated GPUs need a C compiler, and there is no cc on PATH: apt-get install gcc")

// BuildStub builds the stub with this machine's cc in a folder under cache,
// unless it is there, and returns that folder, for a Simulation.
func BuildStub(ctx context.Context, cache string) (folder string, err error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("hardware: simulated GPUs exist on Linux alone, where NVML does")
	}
	h := sha256.New()
	err = fs.WalkDir(stubFiles, "stub", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := stubFiles.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	if err != nil {
		return "", err
	}
	folder = filepath.Join(cache, "gpu-"+hex.EncodeToString(h.Sum(nil))[:16])
	if _, err := os.Stat(filepath.Join(folder, stubLibrary)); err == nil {
		return folder, nil
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", ErrNoCompiler
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, ".gpu-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	for _, name := range []string{"nvml.c", "unsupported.h"} {
		data, err := stubFiles.ReadFile("stub/" + name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(work, name), data, 0o600); err != nil {
			return "", err
		}
	}
	library := filepath.Join(work, stubLibrary)
	cmd := exec.CommandContext(ctx, cc, "-std=c99", "-O1", "-shared", "-fPIC", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fvisibility=hidden",
		"-Wl,-soname,"+stubLibrary, "-o", library, filepath.Join(work, "nvml.c"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("hardware: %s does not build the NVML stub: %w\n%s", cc, err, out)
	}
	smi, err := stubFiles.ReadFile("stub/" + stubSMI)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if err := durable.Keep(filepath.Join(folder, stubSMI), smi, 0o755); err != nil {
		return "", err
	}
	if err := os.Chmod(library, 0o755); err != nil {
		return "", err
	}
	// Last: whoever finds it finds all.
	return folder, os.Rename(library, filepath.Join(folder, stubLibrary))
}
