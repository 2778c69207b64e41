package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/engine/docker"
)

type imageFlags struct {
	host, table string
}

func (m *Main) imagesCommand() *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use: "images", Short: "The images that the Docker engine's machines run",
		Long: `The Docker engine runs machines and nodes in containers of a base image, which is built here: on an
image of Ubuntu (--base) where a registry answers, or from this machine's own Debian or Ubuntu packages.
It stands for the images that clients name; --map is a JSON file with more rows:
  [{"match": "pytorch/*", "image": "my/pytorch:1"}]`,
	}
	cmd.PersistentFlags().StringVar(&f.host, "docker-host", "", "where Docker listens (default: DOCKER_HOST, then Docker's own sockets)")
	cmd.PersistentFlags().StringVar(&f.table, "map", "", "JSON file of image names and the images that stand for them")
	cmd.AddCommand(m.imagesBuildCommand(&f), m.imagesListCommand(&f), m.imagesPruneCommand(&f))
	return cmd
}

// dockerConfig is what commands and the engine say to Docker alike.
func (m *Main) dockerConfig(host, table string) (docker.Config, error) {
	cfg := docker.Config{Host: host}
	if host == "" {
		cfg.Host = m.Getenv("DOCKER_HOST")
	}
	if table != "" {
		file, err := os.Open(table)
		if err != nil {
			return cfg, err
		}
		defer func() { _ = file.Close() }()
		if cfg.Table, err = docker.ReadTable(file); err != nil {
			return cfg, fmt.Errorf("%s: %w", table, err)
		}
	}
	root := m.Getenv("PYENV_ROOT")
	if root == "" {
		root = filepath.Join(m.Getenv("HOME"), ".pyenv")
	}
	if st, err := os.Stat(filepath.Join(root, "versions")); err == nil && st.IsDir() {
		cfg.Pyenv = root
	}
	return cfg, nil
}

func (m *Main) openImages(cmd *cobra.Command, f *imageFlags) (*docker.Images, error) {
	cfg, err := m.dockerConfig(f.host, f.table)
	if err != nil {
		return nil, err
	}
	images, err := docker.NewImages(cmd.Context(), cfg)
	if errors.Is(err, engine.ErrNoEngine) {
		return nil, fmt.Errorf("%w\nstart Docker (in a checkout, make images installs and starts it on Debian), or name another by DOCKER_HOST or --docker-host", err)
	}
	return images, err
}

func (m *Main) imagesBuildCommand(f *imageFlags) *cobra.Command {
	var base, ca, on, requirements string
	var run []string
	var quiet, spark bool
	var epoch int64
	cmd := &cobra.Command{
		Use: "build", Short: "Build the base image, or one with dependencies on it", Args: cobra.NoArgs,
		Long: `Without --requirements or --run it builds the base image, ` + docker.BaseImage + `. With them it builds an
image on another (--on, by default the base image) and prints its name; one that was built before of the
same content is taken as it is.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			images, err := m.openImages(cmd, f)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, images.Close()) }()
			started := time.Now()
			if requirements != "" || len(run) > 0 {
				r := docker.Recipe{Base: on, Run: run, Source: strings.TrimSpace(requirements + " " + strings.Join(run, "; "))}
				if requirements != "" {
					data, err := os.ReadFile(requirements)
					if err != nil {
						return err
					}
					r.Files = map[string][]byte{"requirements.txt": data}
					r.Run = append([]string{"python3 -m pip install -r requirements.txt"}, r.Run...)
				}
				if !quiet {
					r.Progress = m.Stderr
				}
				name, cached, err := images.BuildRecipe(cmd.Context(), r)
				if err != nil {
					return err
				}
				if cached && !quiet {
					_, _ = fmt.Fprintln(m.Stderr, "built before")
				}
				_, err = fmt.Fprintln(m.Stdout, name)
				return err
			}
			b := docker.Base{Name: docker.BaseImage, From: base, CA: ca, UV: true}
			if spark {
				if _, _, err := emulator.FindSpark(m.sparkDir()); err != nil {
					return err
				}
				b.Name, b.Packages = docker.SparkImage, []string{"openjdk-17-jre-headless"}
				b.Folders = map[string]string{"/opt/spark": filepath.Join(m.sparkDir(), "spark")}
			}
			if epoch != 0 {
				b.Epoch = time.Unix(epoch, 0)
			}
			if !quiet {
				b.Progress = m.Stderr
			}
			img, err := images.BuildBase(cmd.Context(), b)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(m.Stdout, "%s from %s, %d MB, in %.1f s\n%s\n", b.Name, img.Source, img.Size/1e6, time.Since(started).Seconds(), img.ID); err != nil {
				return err
			}
			// Simulated GPUs are wanted of few machines: without a compiler the rest goes on.
			if _, err := m.stub(cmd.Context()); err != nil && !quiet {
				_, _ = fmt.Fprintln(m.Stderr, err)
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&base, "base", "", "image to build the base image on, such as ubuntu:24.04 (default: this machine's packages)")
	fl.StringVar(&ca, "ca", defaultCA(), "bundle of certificates that the image trusts; empty: its own")
	fl.Int64Var(&epoch, "epoch", 0, "SOURCE_DATE_EPOCH of a base image from packages (default: that of the newest package list)")
	fl.BoolVar(&spark, "spark", false, "build "+docker.SparkImage+" instead, the base image with a Java and Spark: HDInsight's nodes, Data Science VMs, mmlspark's images")
	fl.StringVar(&on, "on", "", "image to build dependencies on (default: the base image)")
	fl.StringVar(&requirements, "requirements", "", "pip's requirements file to build an image with")
	fl.StringArrayVar(&run, "run", nil, "shell command to build an image with; may be given more than once")
	fl.BoolVarP(&quiet, "quiet", "q", false, "print the result alone")
	return cmd
}

// defaultCA is this machine's bundle, where it has one: its network may have an authority of its own.
func defaultCA() string {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(bundle); err != nil {
		return ""
	}
	return bundle
}

func (m *Main) imagesListCommand(f *imageFlags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the images that were built here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			images, err := m.openImages(cmd, f)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, images.Close()) }()
			all, err := images.List(cmd.Context())
			if err != nil {
				return err
			}
			return m.printImages(all, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (m *Main) printImages(all []docker.Image, output string) error {
	if output == "json" {
		b, err := json.MarshalIndent(append([]docker.Image{}, all...), "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(m.Stdout, string(b))
		return err
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tKIND\tFROM\tCREATED\tMB\tIN USE")
	for _, img := range all {
		name := strings.Join(img.Names, ", ")
		if name == "" {
			name = strings.TrimPrefix(img.ID, "sha256:")[:12]
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%t\n", name, img.Kind, img.Source, img.Created.Format(time.DateTime), img.Size/1e6, img.InUse)
	}
	return w.Flush()
}

func (m *Main) imagesPruneCommand(f *imageFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove the images that were built here and that no container has", Args: cobra.NoArgs,
		Long: "Remove the images that were built here and that no container has: base images that newer ones have replaced, and all with dependencies.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			images, err := m.openImages(cmd, f)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, images.Close()) }()
			found, err := images.List(cmd.Context())
			if err != nil {
				return err
			}
			removed, err := images.Remove(cmd.Context(), docker.Unused(found, all))
			var bytes int64
			for _, img := range removed {
				bytes += img.Size
			}
			_, _ = fmt.Fprintf(m.Stdout, "removed %d images, %d MB with what they share\n", len(removed), bytes/1e6)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove the base image too")
	return cmd
}
