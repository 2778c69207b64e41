package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Installation is Spark, and YARN where that could be had, in a folder of this machine, as Install makes it.
type Installation struct {
	Dir    string `json:"-"`
	Spark  string `json:"spark"`  // version
	Hadoop string `json:"hadoop"` // version of YARN and of the wasb driver; empty: neither is there
}

// Home is SPARK_HOME.
func (i Installation) Home() string { return filepath.Join(i.Dir, "spark") }

// jars is the folder of the class path of YARN and of Hadoop's commands.
func (i Installation) jars() string {
	if i.Hadoop == "" {
		return filepath.Join(i.Home(), "jars")
	}
	return filepath.Join(i.Dir, "yarn")
}

func (i Installation) manager() manager {
	if i.Hadoop == "" {
		return standalone{}
	}
	return yarn{}
}

// Unavailable says that a cluster can't run here, and the command that mends it.
type Unavailable struct{ What, Command string }

// Error implements error.
func (e *Unavailable) Error() string {
	return fmt.Sprintf("%s; run: %s", e.What, e.Command)
}

// FindInstallation reads what is in a folder; an *Unavailable if Spark was not
// installed there, or by an older lazulite.
func FindInstallation(dir string) (Installation, error) {
	missing := &Unavailable{"Apache Spark and Hadoop YARN are not installed on this machine", "lazulite spark install"}
	if dir == "" {
		return Installation{}, missing
	}
	data, err := os.ReadFile(filepath.Join(dir, "release.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Installation{}, missing
	} else if err != nil {
		return Installation{}, err
	}
	i := Installation{Dir: dir}
	if err := json.Unmarshal(data, &i); err != nil {
		return Installation{}, fmt.Errorf("cluster: %s: %w", dir, err)
	}
	if i.Spark == "" || i.Hadoop != "" && i.Hadoop != hadoopVersion {
		missing.What = "Spark on this machine was installed by another lazulite"
		return Installation{}, missing
	}
	return i, nil
}
