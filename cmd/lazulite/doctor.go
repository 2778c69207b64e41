package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
	"lazulite.dev/emulator/hardware"
)

// finding is one line of doctor: what was looked for, whether it is here, and what mends it.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// For says what needs it.
	For string `json:"for"`
	// Mend is the command that brings it; empty if nothing is missing or nothing can be done.
	Mend string `json:"mend,omitempty"`
}

func (m *Main) doctorCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Tell what this machine lacks, and the command that mends it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := m.examine(cmd.Context())
			if output == "json" {
				b, err := json.MarshalIndent(found, "", "  ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(m.Stdout, string(b))
				return err
			}
			for _, f := range found {
				mark := "ok     "
				if !f.OK {
					mark = "missing"
				}
				_, _ = fmt.Fprintf(m.Stdout, "%s  %-14s %s\n", mark, f.Name, f.Detail)
				if !f.OK {
					_, _ = fmt.Fprintf(m.Stdout, "         %-14s needed for %s\n", "", f.For)
					if f.Mend != "" {
						_, _ = fmt.Fprintf(m.Stdout, "         %-14s mend: %s\n", "", f.Mend)
					}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (m *Main) examine(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return []finding{m.examineEmulator(ctx), m.examinePython(ctx), m.examineConda(ctx), m.examineSSH(), m.examineMPI(), m.examineFolder(), m.examineDocker(ctx), m.examineSpark(), examineGPU()}
}

func (m *Main) examineEmulator(ctx context.Context) finding {
	f := finding{Name: "emulator", For: "clients that talk to a long-lived emulator"}
	if in, err := m.find(ctx); err == nil {
		f.OK, f.Detail = true, "up at http://"+in.Status.Address
		return f
	}
	l, err := net.Listen("tcp", defaultListen)
	if err != nil {
		f.Detail, f.Mend = "port "+defaultListen+" is taken by something else", "lazulite up --listen 127.0.0.1:0 --detach"
		return f
	}
	_ = l.Close()
	f.OK, f.Detail = true, "not up; port "+defaultListen+" is free"
	return f
}

func (m *Main) examinePython(ctx context.Context) finding {
	f := finding{Name: "python", For: "runs, and SDK 0.1.68, which needs Python 3.6"}
	var versions []string
	for _, p := range m.pythons(ctx) {
		versions = append(versions, p.version)
		f.OK = f.OK || p.major == 3 && p.minor == 6
	}
	f.Detail = strings.Join(versions, ", ")
	if len(versions) == 0 {
		f.Detail = "none found on PATH or in pyenv's folder"
	} else if !f.OK {
		f.Detail = "no 3.6 among " + f.Detail
	}
	if !f.OK {
		f.Mend = "pyenv install 3.6.15"
	}
	return f
}

func (m *Main) examineConda(context.Context) finding {
	f := finding{Name: "conda", For: "system-managed environments by conda itself; without it they are made by uv or pip"}
	for _, name := range []string{"conda", "mamba", "micromamba"} {
		if path, err := exec.LookPath(name); err == nil {
			f.OK, f.Detail = true, path
			return f
		}
	}
	f.Detail = "no conda, mamba or micromamba on PATH"
	if path, err := exec.LookPath("uv"); err == nil {
		f.Detail += "; uv is used: " + path
	} else {
		f.Detail += "; pip is used"
	}
	f.Mend = "install micromamba, or pip install uv for quicker environments"
	return f
}

func (m *Main) examineSSH() finding {
	f := finding{Name: "ssh", For: "logging in to virtual machines"}
	path, err := exec.LookPath("ssh")
	f.OK, f.Detail = err == nil, path
	if err != nil {
		f.Detail, f.Mend = "no ssh on PATH", "apt-get install openssh-client"
	}
	return f
}

func (m *Main) examineMPI() finding {
	f := finding{Name: "Open MPI", For: "distributed jobs of Batch AI on nodes that are processes of this host; nodes in Docker have it"}
	path, err := exec.LookPath("mpirun")
	f.OK, f.Detail = err == nil, path
	if err != nil {
		f.Detail, f.Mend = "no mpirun on PATH", "apt-get install openmpi-bin"
	}
	return f
}

func (m *Main) examineFolder() finding {
	f := finding{Name: "data folder", For: "state that outlives the emulator", Detail: m.dir()}
	parent := m.dir()
	for {
		if st, err := os.Stat(parent); err == nil {
			f.OK = st.IsDir()
			break
		}
		next := filepath.Dir(parent)
		if next == parent {
			break
		}
		parent = next
	}
	if probe, err := os.CreateTemp(parent, ".lazulite-*"); err != nil {
		f.OK, f.Mend = false, "lazulite up --data FOLDER, with a folder that you may write"
	} else {
		_ = probe.Close()
		_ = os.Remove(probe.Name())
	}
	return f
}

func (m *Main) examineDocker(ctx context.Context) finding {
	f := finding{Name: "docker", For: "machines in containers (up --engine docker); without it they are processes of this host"}
	cfg, err := m.dockerConfig("", "")
	if err == nil {
		err = docker.Probe(ctx, cfg)
	}
	switch {
	case err == nil:
		f.OK, f.Detail = true, "a daemon answers and has the base image"
	case errors.Is(err, engine.ErrNoImage):
		f.Detail, f.Mend = "a daemon answers, but has no base image", "lazulite images build"
	default:
		f.Detail, f.Mend = "no engine answers", "apt-get install docker.io && service docker start"
	}
	return f
}

func (m *Main) examineSpark() finding {
	f := finding{Name: "spark", For: "HDInsight clusters", Mend: "lazulite spark install"}
	spark, hadoop, err := emulator.FindSpark(m.sparkDir())
	if err != nil {
		f.Detail = "none in " + m.sparkDir()
		return f
	}
	f.Detail = installed(spark, hadoop)
	if hadoop == "" {
		f.Detail += ": clusters run on its own master"
	}
	if _, err := exec.LookPath("java"); err != nil {
		f.Detail, f.Mend = f.Detail+", but no Java", "apt-get install openjdk-17-jre-headless"
		return f
	}
	f.OK, f.Mend = true, ""
	return f
}

func examineGPU() finding {
	f := finding{Name: "gpu", For: "GPU sizes that really have one; without it they run on the CPU, and say so"}
	simulated := "; up --gpus simulated shows some that compute nothing"
	if _, err := exec.LookPath("cc"); err != nil {
		simulated += ", once there is a C compiler (apt-get install gcc)"
	}
	if sees, why := hardware.SeesGPUs(); !sees {
		f.Detail, f.Mend = why+simulated, "build lazulite with cgo (CGO_ENABLED=1 and a C compiler)"
		return f
	}
	gpus, err := hardware.New(hardware.Config{}).GPUs()
	switch {
	case err != nil:
		f.Detail = err.Error() + simulated
	case len(gpus) == 0:
		f.Detail = "none" + simulated
	default:
		f.OK = true
		var each []string
		for _, g := range gpus {
			each = append(each, fmt.Sprintf("%d: %s, %d MB (%s)", g.Index, g.Model, g.MemoryMB, g.UUID))
		}
		f.Detail = strings.Join(each, "; ")
	}
	return f
}
