package dsvm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A machine whose disk is full says so to whoever writes, lets people in, and
// is well again when there is room: another's disk has none of it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "engine")); err != nil { // which has its own troubles
		t.Fatal(err)
	}
	w := newWorld(t, dir, nil)
	vm := w.create("vm1")
	if got := w.ssh("vm1", "head -c 8000000 /dev/zero >fill; echo $?"); !strings.Contains(got, "No space left on device") {
		t.Errorf("writing more than there is: %q", got)
	}
	if got := w.ssh("vm1", "echo in"); got != "in" {
		t.Errorf("a login: %q", got)
	}
	// What can't be written down is not done, and said.
	nic := network + "networkInterfaces/vm2-nic"
	w.must(nic, `{"location":"eastus2","properties":{"ipConfigurations":[{"name":"ipconfig","properties":{"subnet":{"id":"`+network+`virtualNetworks/vnet/subnets/default"}}}]}}`)
	w.must(compute+"vm2", vmBody("Standard_DS1_v2", nic, withPassword))
	w.settle()
	if e := w.errs[key(compute+"vm2")]; e == nil || !strings.Contains(e.Error(), "no space left on device") {
		t.Errorf("a second machine: %v", e)
	}
	if got := w.ssh("vm1", "rm fill; echo kept >kept; cat kept"); got != "kept" {
		t.Errorf("with room again: %q", got)
	}
	for _, action := range []string{"powerOff", "start"} {
		if err := w.act(vm, action); err != nil {
			t.Fatal(action, err)
		}
		w.settle()
	}
	if got := w.ssh("vm1", "cat kept"); got != "kept" {
		t.Errorf("started again: %q", got)
	}
}
