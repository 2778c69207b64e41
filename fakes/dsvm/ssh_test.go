package dsvm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/sshd"
	"lazulite.dev/emulator/sshd/sshdtest"
)

// TestOpenSSHInContainer is the suite of SSH servers, over a VM that is a container.
func TestOpenSSHInContainer(t *testing.T) {
	w, _ := newDockerWorld(t)
	sshdtest.Test(t, func(t *testing.T) *sshdtest.Host {
		h := &sshdtest.Host{User: user, Password: password, Key: sshdtest.NewKey(t), Home: "/home/" + user}
		public, err := gossh.NewPublicKey(&h.Key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(public)))
		vm := compute + "vm1"
		w.must(vm, vmBody("Standard_DS1_v2", w.nets("vm1"), fmt.Sprintf(`{"computerName":"vm","adminUsername":%q,"adminPassword":%q,"linuxConfiguration":{"disablePasswordAuthentication":false,"ssh":{"publicKeys":[{"path":"/home/%s/.ssh/authorized_keys","keyData":%q}]}}}`, user, password, user, line)))
		w.settle()
		h.Addr = w.endpoint("vm1")
		disks, err := filepath.Glob(filepath.Join(w.dir, "vms", "*"))
		if err != nil || len(disks) != 1 {
			t.Fatal(disks, err)
		}
		h.Files = filepath.Join(disks[0], "home", user)
		if _, h.HostKeys, err = sshd.HostKeyFiles(filepath.Join(disks[0], "hostkey")); err != nil {
			t.Fatal(err)
		}
		h.Failed = func() int64 {
			n, err := strconv.ParseInt(w.ssh("vm1", "sudo grep -c '^Failed password for "+user+"' /var/log/auth.log || true"), 10, 64)
			if err != nil {
				t.Error(err)
			}
			return n
		}
		power := func(action string) func(t *testing.T) {
			return func(t *testing.T) {
				if err := w.act(vm, action); err != nil {
					t.Fatal(action, err)
				}
				w.settle()
			}
		}
		h.Off, h.On = power("deallocate"), power("start")
		if venv := os.Getenv("LAZULITE_SDK2018"); venv != "" {
			h.Paramiko = filepath.Join(venv, "bin", "python")
		}
		return h
	})
}
