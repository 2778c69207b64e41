package emulator

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/hdinsight/cluster"
)

// InstallSpark gets Apache Spark and Hadoop YARN, for HDInsight clusters, into a
// folder by pip and mvn, and tells their versions; where YARN can't be had, that
// one is empty, and why is told to progress. What is whole already is kept unless again is set.
func InstallSpark(ctx context.Context, dir string, again bool, progress io.Writer) (spark, hadoop string, err error) {
	i, err := cluster.Install(ctx, dir, again, progress)
	return i.Spark, i.Hadoop, err
}

// FindSpark tells the versions of what InstallSpark has put into a folder, YARN's
// empty if it could not be had, or what to do about its absence.
func FindSpark(dir string) (spark, hadoop string, err error) {
	i, err := cluster.FindInstallation(dir)
	return i.Spark, i.Hadoop, err
}

// sparkHome is where Spark is on this host, installed before or since the emulator's start; empty: nowhere.
func (e *Emulator) sparkHome() string {
	i, err := cluster.FindInstallation(e.cfg.Spark)
	if err != nil {
		return ""
	}
	return i.Home()
}

// clusterStorage checks a storage account's key, and makes the container.
func (e *Emulator) clusterStorage(ctx context.Context, host, key, container string) error {
	account, rest, _ := strings.Cut(host, ".")
	refused := func(format string, args ...any) error {
		return arm.Errorf(http.StatusBadRequest, "BadRequest", "DeploymentDocument 'AmbariConfiguration_1_7' failed the validation. Error: '%s'", fmt.Sprintf(format, args...))
	}
	keys, err := e.blob.Keys(ctx, account)
	if err != nil || rest != "blob.core.windows.net" {
		return refused("The storage account '%s' was not found", host)
	}
	right := 0
	for _, k := range keys {
		right |= subtle.ConstantTimeCompare([]byte(k), []byte(key))
	}
	if right == 0 {
		return refused("The credentials of the storage account '%s' are invalid", host)
	}
	if container == "" {
		return nil
	}
	if err := e.blob.EnsureContainer(ctx, account, container); err != nil {
		return refused("The container '%s' of the storage account '%s' can't be created: %v", container, host, err)
	}
	return nil
}

// dialCluster connects to the SSH server that a cluster's name stands for.
func (e *Emulator) dialCluster(ctx context.Context, name, port string) (net.Conn, error) {
	address, at, ok := e.hadoop.Resolve(name)
	if !ok || port != "22" && port != strconv.Itoa(at) {
		return nil, errors.New("there is no such cluster, or it does not listen on port " + port)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(at)))
}

// publicScripts is the account of Azure's own script actions. They install what
// is made for HDP's distribution; in the place of those that clients are known
// to name stands a script that installs nothing, and says so.
const publicScripts = "hdiconfigactions.blob.core.windows.net"

func servePublicScript(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/linuxhueconfigactionv02/install-hue-uber-v02.sh" {
		w.Header().Set("x-ms-error-code", "BlobNotFound")
		http.Error(w, "The specified blob does not exist.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, "#!/bin/bash\necho \"lazulite has a stand-in for this script of Azure's: nothing is installed\" >&2\n")
}
