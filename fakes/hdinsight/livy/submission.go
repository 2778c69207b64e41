package livy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// submission is what batches and sessions have in common: how Spark is to be started.
type submission struct {
	ProxyUser      string            `json:"proxyUser"`
	Jars           []string          `json:"jars"`
	PyFiles        []string          `json:"pyFiles"`
	Files          []string          `json:"files"`
	DriverMemory   string            `json:"driverMemory"`
	DriverCores    int               `json:"driverCores"`
	ExecutorMemory string            `json:"executorMemory"`
	ExecutorCores  int               `json:"executorCores"`
	NumExecutors   int               `json:"numExecutors"`
	Archives       []string          `json:"archives"`
	Queue          string            `json:"queue"`
	Name           *string           `json:"name"`
	Conf           map[string]string `json:"conf"`
}

// forbidden are settings that Livy makes itself.
func forbidden() []string { return []string{"spark.master", "spark.submit.deployMode"} }

// options are spark-submit's arguments for it.
func (u submission) options(s *Server) ([]string, error) {
	for _, name := range forbidden() {
		if _, ok := u.Conf[name]; ok {
			return nil, refuse(http.StatusBadRequest, "Blacklisted configuration values in session config: %s", name)
		}
	}
	var args []string
	for _, list := range []struct {
		option string
		files  []string
	}{{"--jars", u.Jars}, {"--py-files", u.PyFiles}, {"--files", u.Files}, {"--archives", u.Archives}} {
		files, err := s.resolveAll(list.files)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			args = append(args, list.option, strings.Join(files, ","))
		}
	}
	for _, o := range []struct{ option, value string }{{"--driver-memory", u.DriverMemory}, {"--executor-memory", u.ExecutorMemory}, {"--queue", u.Queue}} {
		if o.value != "" {
			args = append(args, o.option, o.value)
		}
	}
	for _, o := range []struct {
		option string
		n      int
	}{{"--driver-cores", u.DriverCores}, {"--executor-cores", u.ExecutorCores}, {"--num-executors", u.NumExecutors}} {
		if o.n < 0 {
			return nil, refuse(http.StatusBadRequest, "The value %d of %s is not positive.", o.n, o.option)
		}
		if o.n > 0 {
			args = append(args, o.option, fmt.Sprint(o.n))
		}
	}
	if u.Name != nil && *u.Name != "" {
		args = append(args, "--name", *u.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Conf)) {
		args = append(args, "--conf", name+"="+u.Conf[name])
	}
	return args, nil
}
