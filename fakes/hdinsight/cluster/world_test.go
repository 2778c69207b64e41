package cluster_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/engine"
	"lazulite.dev/emulator/sshd"
	"lazulite.dev/fakes/hdinsight/cluster"
)

const (
	user     = "sshuser"
	password = "Correct-Horse7"
)

// sparkDir is where this machine has Spark; the test is skipped if it hasn't.
func sparkDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LAZULITE_SPARK")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "lazulite", "spark")
	}
	if i, err := cluster.FindInstallation(dir); err != nil {
		t.Skip(err)
	} else if i.Hadoop == "" {
		t.Skip("Spark was installed without YARN")
	}
	return dir
}

// sparkAlone is a folder with the Spark of another, and nothing that came with YARN.
func sparkAlone(t *testing.T, whole string) string {
	t.Helper()
	i, err := cluster.FindInstallation(whole)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	link := func(from, to string, but func(name string) bool) {
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if but(e.Name()) {
				continue
			}
			if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	spark := filepath.Join(dir, "spark")
	link(i.Home(), spark, func(name string) bool { return name == "jars" })
	link(filepath.Join(i.Home(), "jars"), filepath.Join(spark, "jars"), func(name string) bool {
		return strings.HasPrefix(name, "hadoop-azure") || strings.HasPrefix(name, "azure-")
	})
	if err := os.WriteFile(filepath.Join(dir, "release.json"), []byte(`{"spark":"`+i.Spark+`"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open makes a Fleet of processes of this host in a folder.
func open(t *testing.T, dir, spark string) *cluster.Fleet {
	t.Helper()
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "process")})
	if err != nil {
		t.Fatal(err)
	}
	f, err := cluster.New(cluster.Config{Engine: e, Dir: filepath.Join(dir, "clusters"), Spark: spark,
		Network: func(context.Context) ([]string, []engine.Mount, error) {
			return []string{"PATH=" + os.Getenv("PATH")}, nil, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

func spec(t *testing.T, workers int) cluster.Spec {
	t.Helper()
	hash, err := sshd.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Spec{Name: "sparky", Resource: "/clusters/sparky", User: user, PasswordHash: hash,
		HeadSize: "Standard_A3", WorkerSize: "Standard_A3", Workers: workers}
}

func apply(t *testing.T, c *cluster.Cluster, s cluster.Spec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := c.Apply(ctx, s); err != nil {
		t.Fatal(err)
	}
}

// login is an SSH connection to a node's door.
func login(t *testing.T, c *cluster.Cluster, node string) *gossh.Client {
	t.Helper()
	for _, n := range c.Nodes() {
		if n.Name != node {
			continue
		}
		client, err := gossh.Dial("tcp", n.SSH, &gossh.ClientConfig{User: user, Auth: []gossh.AuthMethod{gossh.Password(password)},
			HostKeyCallback: func(string, net.Addr, gossh.PublicKey) error { return nil }, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
	t.Fatalf("there is no node %s", node)
	return nil
}

// run runs a command over SSH; code is its exit status.
func run(t *testing.T, client *gossh.Client, command string) (out string, code int) {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var said bytes.Buffer
	var errors bytes.Buffer
	s.Stdout, s.Stderr = &said, &errors
	err = s.Run(command)
	if exit, ok := err.(*gossh.ExitError); ok {
		return said.String() + errors.String(), exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, said.String())
	}
	return strings.TrimSpace(said.String()), 0
}
