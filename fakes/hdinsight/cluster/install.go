package cluster

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What Install gets. Spark 3.5 is built on this Hadoop, and runs on Java 17.
const (
	sparkRequirement = "pyspark==3.5.*"
	hadoopVersion    = "3.3.4"
)

//go:embed pom.xml
var pom []byte

// azureJars are those of YARN's class path that Spark needs too, for wasb.
func azureJars() []string {
	return []string{"hadoop-azure-*.jar", "azure-storage-*.jar", "azure-keyvault-core-*.jar", "jetty-util-[0-9]*.jar", "jetty-util-ajax-*.jar"}
}

// Install gets Apache Spark from PyPI by pip and YARN from Maven's repository
// by mvn into a folder, whole or not at all. Where YARN can't be had it says why
// to progress, and leaves Spark alone. What is whole already is kept unless again is set.
func Install(ctx context.Context, dir string, again bool, progress io.Writer) (Installation, error) {
	if had, err := FindInstallation(dir); err == nil && !again && had.Hadoop != "" {
		return had, nil
	} else if unavailable := (*Unavailable)(nil); err != nil && !errors.As(err, &unavailable) {
		return Installation{}, err
	}
	for _, tool := range [][2]string{{"python3", "python3 with pip"}, {"java", "a Java 17 (on Debian: apt-get install openjdk-17-jre-headless)"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			return Installation{}, fmt.Errorf("cluster: installing Spark takes %s: %w", tool[1], err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Installation{}, err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".spark-")
	if err != nil {
		return Installation{}, err
	}
	defer os.RemoveAll(work)
	i := Installation{Dir: work, Hadoop: hadoopVersion}
	if err := i.getSpark(ctx, work, progress); err != nil {
		return Installation{}, err
	}
	if err := i.getYARN(ctx, work, progress); ctx.Err() != nil {
		return Installation{}, ctx.Err()
	} else if err != nil {
		i.Hadoop = ""
		_, _ = fmt.Fprintf(progress, "YARN can't be had (%v): clusters will run on Spark's own master, and have no storage accounts as file systems\n", err)
		if err := os.RemoveAll(filepath.Join(work, "yarn")); err != nil {
			return Installation{}, err
		}
	}
	data, err := json.Marshal(i)
	if err != nil {
		return Installation{}, err
	}
	// Last: a folder that has it is whole.
	if err := os.WriteFile(filepath.Join(work, "release.json"), data, 0o644); err != nil {
		return Installation{}, err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return Installation{}, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return Installation{}, err
	}
	i.Dir = dir
	return i, os.Rename(work, dir)
}

// getSpark has pip unpack the package, of which SPARK_HOME is a part.
func (i *Installation) getSpark(ctx context.Context, work string, progress io.Writer) error {
	_, _ = fmt.Fprintln(progress, "getting", sparkRequirement, "by pip")
	target := filepath.Join(work, "python")
	if err := run(ctx, work, progress, "python3", "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--disable-pip-version-check", "--root-user-action", "ignore", "--target", target, sparkRequirement); err != nil {
		return err
	}
	infos, err := filepath.Glob(filepath.Join(target, "pyspark-*.dist-info"))
	if err != nil || len(infos) != 1 {
		return errors.New("cluster: pip left no pyspark")
	}
	i.Spark = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(infos[0]), "pyspark-"), ".dist-info")
	if err := os.Rename(filepath.Join(target, "pyspark"), i.Home()); err != nil {
		return err
	}
	return os.RemoveAll(target)
}

// getYARN has Maven copy the servers and all that they need, and gives Spark the driver of storage accounts.
func (i *Installation) getYARN(ctx context.Context, work string, progress io.Writer) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("it takes Maven (on Debian: apt-get install maven): %w", err)
	}
	_, _ = fmt.Fprintln(progress, "getting Hadoop YARN", hadoopVersion, "by mvn")
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return err
	}
	if err := run(ctx, work, progress, "mvn", "-q", "-B", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime",
		// reload4j is there in their place.
		"-DexcludeArtifactIds=slf4j-log4j12,log4j", "-DoutputDirectory="+i.jars()); err != nil {
		return err
	}
	if err := filepath.WalkDir(i.jars(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	}); err != nil {
		return err
	}
	for _, pattern := range azureJars() {
		jars, err := filepath.Glob(filepath.Join(i.jars(), pattern))
		if err != nil || len(jars) == 0 {
			return fmt.Errorf("cluster: %s is not among YARN's jars", pattern)
		}
		for _, jar := range jars {
			if err := os.Link(jar, filepath.Join(i.Home(), "jars", filepath.Base(jar))); err != nil {
				return err
			}
		}
	}
	return nil
}

func run(ctx context.Context, dir string, progress io.Writer, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cluster: %s: %w", command[0], err)
	}
	return nil
}
