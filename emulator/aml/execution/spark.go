package execution

import (
	"regexp"
	"strings"
	"sync"

	"lazulite.dev/emulator/aml/plane"
)

// sparkEnvironment is environment.spark of a run configuration: what driver and
// executors have of Maven's repositories.
type sparkEnvironment struct {
	Repositories []string       `json:"repositories"`
	Packages     []sparkPackage `json:"packages"`
}

type sparkPackage struct {
	Group    string `json:"group"`
	Artifact string `json:"artifact"`
	Version  string `json:"version"`
}

// jobSpark is how the control script calls spark-submit.
type jobSpark struct {
	// Home is a SPARK_HOME for a machine that has no Spark and this folder; empty: none.
	Home string `json:"home"`
	// YARN says that the target is a cluster; else Spark runs in one process, as its own configuration has it.
	YARN          bool            `json:"yarn"`
	DeployMode    string          `json:"deployMode"`
	Configuration map[string]word `json:"configuration"`
	Packages      []string        `json:"packages"`
	Repositories  []string        `json:"repositories"`
}

// Deploy modes of YARN: where the driver runs.
const (
	deployClient  = "client"
	deployCluster = "cluster"
)

var (
	sparkSetting = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^spark\.[A-Za-z0-9._-]+$`) })
	// mavenWord is a part of a Maven coordinate: no separator of coordinates, and nothing of a list's.
	mavenWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`) })
)

func (c *configuration) onSpark() bool { return strings.EqualFold(c.Framework, "PySpark") }

// checkSpark refuses what spark-submit would take for something else.
func (c *configuration) checkSpark() error {
	if !c.onSpark() {
		return nil
	}
	if c.Command != "" {
		return plane.BadRequest("Configuration.command", "A run of the framework PySpark has a script: 'Configuration.command' must be empty.")
	}
	for name, value := range c.Spark.Configuration {
		field := "Configuration.spark.configuration." + name
		if !sparkSetting().MatchString(name) {
			return plane.BadRequest(field, "'%s' is no setting of Spark: its name must begin with 'spark.'.", name)
		}
		switch name {
		case "spark.master", "spark.submit.deployMode":
			return plane.BadRequest(field, "'%s' is the target's: it can't be set in 'Configuration.spark.configuration'.", name)
		}
		if strings.ContainsAny(string(value), "\x00\r\n") {
			return plane.BadRequest(field, "The value of '%s' is more than one line.", name)
		}
	}
	for _, p := range c.Environment.Spark.Packages {
		for part, value := range map[string]string{"group": p.Group, "artifact": p.Artifact, "version": p.Version} {
			if !mavenWord().MatchString(value) {
				return plane.BadRequest("Configuration.environment.spark.packages", "'%s' is no %s of a Spark package.", value, part)
			}
		}
	}
	for _, r := range c.Environment.Spark.Repositories {
		if r == "" || strings.HasPrefix(r, "-") || strings.ContainsAny(r, ", \t\r\n") {
			return plane.BadRequest("Configuration.environment.spark.repositories", "'%s' is no URL of a repository.", r)
		}
	}
	switch strings.ToLower(c.HDI.YARNDeployMode) {
	case "", deployClient, deployCluster:
		return nil
	}
	return plane.BadRequest("Configuration.hdi.yarnDeployMode", "The deploy mode '%s' is none of client, cluster.", c.HDI.YARNDeployMode)
}

// jobSpark is what the job gets to know; nil: its framework is another.
func (s *Service) jobSpark(c *configuration, onYARN bool) *jobSpark {
	if !c.onSpark() {
		return nil
	}
	j := &jobSpark{YARN: onYARN, DeployMode: deployClient, Configuration: map[string]word{}, Packages: []string{},
		Repositories: append([]string{}, c.Environment.Spark.Repositories...)}
	if onYARN && !strings.EqualFold(c.HDI.YARNDeployMode, deployClient) {
		// The SDK's own default.
		j.DeployMode = deployCluster
	}
	if s.cfg.Spark != nil && !onYARN {
		j.Home = s.cfg.Spark()
	}
	for name, value := range c.Spark.Configuration {
		if onYARN || !strings.HasPrefix(name, "spark.yarn.") {
			j.Configuration[name] = value
		}
	}
	for _, p := range c.Environment.Spark.Packages {
		j.Packages = append(j.Packages, p.Group+":"+p.Artifact+":"+p.Version)
	}
	return j
}

// checkHDInsight refuses what a cluster of HDInsight does not do for runs.
func (c *configuration) checkHDInsight(name string) error {
	if c.inDocker() {
		return plane.BadRequest("Configuration.environment.docker.enabled", "Compute target '%s' is an HDInsight cluster, on which runs in Docker are not supported: 'Configuration.environment.docker.enabled' must be false.", name)
	}
	l, err := c.layout()
	if err != nil {
		return err
	}
	if l.communicator != alone {
		return plane.BadRequest("Configuration.framework", "Compute target '%s' is an HDInsight cluster: it runs the frameworks PySpark and Python, and no MPI or parameter servers.", name)
	}
	return nil
}
