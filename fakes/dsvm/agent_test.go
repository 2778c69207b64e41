package dsvm_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/fakes/dsvm"
)

// vm makes a VM in its group and returns its id and a signer that it lets in.
func (s *service) vm(name, profile string) (id string, signer gossh.Signer) {
	s.Helper()
	if status, _, _ := s.do("GET "+group, ""); status == 404 {
		s.must(201, "PUT "+group, `{"location":"eastus2"}`)
	}
	signer, line := newRSA(s.T)
	if profile == "" {
		profile = withKey(line)
	}
	id = compute + name
	s.must(201, "PUT "+id, vmBody("Standard_DS1_v2", s.nets(name), profile))
	return id, signer
}

// refused is an exchange that must end in an error, now or as its operation.
func (s *service) refused(name, line, body string, status int, code, text string) {
	s.Helper()
	got, header, out := s.do(line, body)
	if got < 400 && header.Get("Azure-Asyncoperation") != "" {
		out = s.follow(header.Get("Azure-Asyncoperation"))
		got = status
	}
	message, _ := at(out, "error.message").(string)
	if got != status || at(out, "error.code") != code || !strings.Contains(message, text) {
		s.Errorf("%s: %d %v, want %d %s %q", name, got, out, status, code, text)
	}
}

// runs is a run command's message.
func (s *service) runs(vm, input string) string {
	s.Helper()
	status, header, out := s.do("POST "+vm+"/runCommand", input)
	if status != 202 {
		s.Fatalf("runCommand: %d %v", status, out)
	}
	end := s.follow(header.Get("Azure-Asyncoperation"))
	message, _ := at(end, "properties.output.value.0.message").(string)
	if at(end, "status") != "Succeeded" {
		s.Fatalf("runCommand ended as %v", end)
	}
	status, _, result := s.do("GET "+header.Get("Location"), "")
	if status != 200 || at(result, "value.0.message") != message || at(result, "value.0.code") != "ProvisioningState/succeeded" {
		s.Errorf("Location: %d %v, want %q", status, result, message)
	}
	return message
}

func TestRunCommand(t *testing.T) {
	s := newService(t, t.TempDir(), "fast")
	vm, _ := s.vm("run1", "")
	for _, c := range []struct{ name, input, want string }{
		{"a script of the shell's", `{"commandId":"RunShellScript","script":["x=5","echo $x $USER; echo bad >&2"]}`, "Enable succeeded: \n[stdout]\n5 " + user + "\n\n[stderr]\nbad\n"},
		{"arguments, by place and by name", `{"commandId":"RunShellScript","script":["echo $1 $2 $who"],"parameters":[{"name":"who","value":"it's me"},{"name":"arg2","value":"two"}]}`, "Enable succeeded: \n[stdout]\nit's me two it's me\n\n[stderr]\n"},
		{"an interpreter of its own", `{"commandId":"runshellscript","script":["#!/bin/cat","said"]}`, "Enable succeeded: \n[stdout]\n#!/bin/cat\nsaid\n\n[stderr]\n"},
		{"an exit code", `{"commandId":"RunShellScript","script":["echo so far","exit 9"]}`, "Enable succeeded: \n[stdout]\nso far\n\n[stderr]\n"},
	} {
		if got := s.runs(vm, c.input); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := s.runs(vm, `{"commandId":"RunShellScript","script":["seq 1 3000"]}`); len(got) > 4200 || !strings.HasSuffix(got, "2999\n3000\n\n[stderr]\n") {
		t.Errorf("long output: %d bytes, %q", len(got), got[max(0, len(got)-30):])
	}
	list := s.must(200, "GET "+sub+"/providers/Microsoft.Compute/locations/westus/runCommands", "")
	one := s.must(200, "GET "+sub+"/providers/Microsoft.Compute/locations/westus/runCommands/RunShellScript", "")
	if at(list, "value.3.id") != "RunShellScript" || at(list, "value.3.script") != nil || at(one, "script.0") == nil || at(one, "parameters.0.name") != "arg1" {
		t.Errorf("%v\n%v", list, one)
	}
	s.refused("no such command", "GET "+sub+"/providers/Microsoft.Compute/locations/westus/runCommands/Nothing", "", 404, "NotFound", "Nothing")
	s.refused("no command", "POST "+vm+"/runCommand", `{}`, 400, "InvalidParameter", "commandId")
	s.refused("unknown command", "POST "+vm+"/runCommand", `{"commandId":"Nothing"}`, 400, "InvalidParameter", "Nothing")
	s.refused("a command of Windows", "POST "+vm+"/runCommand", `{"commandId":"IPConfig"}`, 400, "InvalidParameter", "Linux")
	s.must(202, "POST "+vm+"/powerOff", "")
	s.refused("a machine that is off", "POST "+vm+"/runCommand", `{"commandId":"RunShellScript"}`, 409, "OperationNotAllowed", "requires the VM to be running")
}

// A script that the emulator's end cut off is not run a second time, and not called a success.
func TestRunCommandCutOff(t *testing.T) {
	dir := t.TempDir()
	s := newService(t, dir, "fast")
	vm, _ := s.vm("cut1", "")
	file := filepath.Join(dir, "runs")
	status, header, out := s.do("POST "+vm+"/runCommand", `{"commandId":"RunShellScript","script":["echo once >> `+file+`; sleep 600"]}`)
	if status != 202 {
		t.Fatal(status, out)
	}
	within(t, func() bool { _, err := os.Stat(file); return err == nil }, func() string { return "the script does not begin" })
	s.close()
	s = newService(t, dir, "fast")
	end := s.follow(header.Get("Azure-Asyncoperation"))
	if at(end, "status") != "Failed" || at(end, "error.code") != "VMAgentStatusCommunicationError" {
		t.Errorf("it ended as %v", end)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "once\n" {
		t.Errorf("it ran %q, %v", data, err)
	}
	if got := s.runs(vm, `{"commandId":"RunShellScript","script":["echo after"]}`); !strings.Contains(got, "after") {
		t.Errorf("afterwards: %q", got)
	}
}

func TestExtensions(t *testing.T) {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/setup.sh" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "#!/bin/sh\necho set up with $1 > $HOME/setup\n")
	}))
	defer files.Close()
	s := newService(t, t.TempDir(), "fast")
	vm, signer := s.vm("ext1", "")
	id := vm + "/extensions/script"
	body := func(kind, settings, protected string) string {
		publisher := "Microsoft.Azure.Extensions"
		if kind != "CustomScript" {
			publisher = "Microsoft.OSTCExtensions"
		}
		return `{"location":"eastus2","properties":{"publisher":"` + publisher + `","type":"` + kind + `","typeHandlerVersion":"2.0","settings":` + settings + `,"protectedSettings":` + protected + `}}`
	}
	made := s.must(201, "PUT "+id, body("CustomScript", `{"fileUris":["`+files.URL+`/setup.sh"]}`, `{"commandToExecute":"sh setup.sh hush"}`))
	if at(made, "properties.provisioningState") != "Creating" || at(made, "properties.protectedSettings") != nil || at(made, "properties.autoUpgradeMinorVersion") != false {
		t.Errorf("PUT: %v", made)
	}
	if got := s.runs(vm, `{"commandId":"RunShellScript","script":["cat $HOME/setup"]}`); !strings.Contains(got, "set up with hush") {
		t.Errorf("the extension left %q", got)
	}
	shown := s.must(200, "GET "+vm+"?$expand=instanceView", "")
	if at(shown, "resources.0.name") != "script" || at(shown, "properties.instanceView.extensions.0.statuses.0.code") != "ProvisioningState/succeeded" ||
		at(shown, "properties.instanceView.vmAgent.extensionHandlers.0.type") != "Microsoft.Azure.Extensions.CustomScript" {
		t.Errorf("the VM: %v", shown)
	}
	if one := s.must(200, "GET "+id+"?$expand=instanceView", ""); at(one, "properties.instanceView.statuses.0.level") != "Info" {
		t.Errorf("GET: %v", one)
	}
	script := base64.StdEncoding.EncodeToString([]byte("echo by script > $HOME/setup"))
	s.must(200, "PUT "+id, body("CustomScript", `{"script":"`+script+`"}`, `null`))
	if got := s.runs(vm, `{"commandId":"RunShellScript","script":["cat $HOME/setup"]}`); !strings.Contains(got, "by script") {
		t.Errorf("the second run left %q", got)
	}
	s.refused("a script that fails", "PUT "+id, body("CustomScript", `{"commandToExecute":"echo why >&2; exit 4"}`, `{}`), 200, "VMExtensionProvisioningError", "exit status=4\n[stdout]\n\n[stderr]\nwhy\n")
	s.refused("a file that is not there", "PUT "+id, body("CustomScript", `{"commandToExecute":"true","fileUris":["`+files.URL+`/absent"]}`, `{}`), 200, "VMExtensionProvisioningError", "failed to download files: file 0: unexpected status code: actual=404")
	s.refused("nothing to run", "PUT "+id, body("CustomScript", `{}`, `{}`), 400, "InvalidParameter", "'commandToExecute' or 'script' is not specified")
	s.refused("both", "PUT "+id, body("CustomScript", `{"commandToExecute":"true","script":"`+script+`"}`, `{}`), 400, "InvalidParameter", "both specified")
	s.refused("odd base64", "PUT "+id, body("CustomScript", `{"script":"!"}`, `{}`), 400, "InvalidParameter", "base64")
	s.refused("unknown extension", "PUT "+vm+"/extensions/x", strings.Replace(body("CustomScript", `{}`, `{}`), "CustomScript", "Nothing", 1), 404, "ArtifactNotFound", "type 'Nothing' could not be found")
	s.refused("no version", "PUT "+vm+"/extensions/x", `{"location":"eastus2","properties":{"publisher":"a","type":"b"}}`, 400, "InvalidParameter", "typeHandlerVersion")
	s.refused("two of a kind", "PUT "+vm+"/extensions/x", body("CustomScript", `{"commandToExecute":"true"}`, `{}`), 400, "BadRequest", "Multiple VMExtensions per handler")

	access := vm + "/extensions/enablevmaccess"
	s.must(201, "PUT "+access, body("VMAccessForLinux", `{}`, `{"username":"second","password":"Second-Horse-8"}`))
	endpoint := s.endpoint("ext1")
	second := func() error {
		c, err := gossh.Dial("tcp", endpoint, &gossh.ClientConfig{User: "second", Auth: []gossh.AuthMethod{gossh.Password("Second-Horse-8")}, HostKeyCallback: gossh.InsecureIgnoreHostKey()})
		if err != nil {
			return err
		}
		defer c.Close()
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		if out, err := session.Output("echo $USER; pwd"); err != nil || !strings.HasPrefix(string(out), "second\n") || !strings.HasSuffix(string(out), "/home/second\n") {
			t.Errorf("the second user sees %q, %v", out, err)
		}
		return nil
	}
	if err := second(); err != nil {
		t.Errorf("the new user: %v", err)
	}
	s.must(200, "PUT "+access, body("VMAccessForLinux", `{}`, `{"remove_user":"second"}`))
	if second() == nil {
		t.Error("the removed user gets in")
	}
	if c, _, err := dial(endpoint, gossh.PublicKeys(signer)); err != nil {
		t.Errorf("the first user: %v", err)
	} else {
		c.Close()
	}
	s.refused("who is not there", "PUT "+access, body("VMAccessForLinux", `{}`, `{"remove_user":"second"}`), 200, "VMExtensionProvisioningError", "'second' does not exist")
	s.must(202, "DELETE "+id, "")
	s.must(202, "POST "+vm+"/deallocate", "")
	s.refused("a machine that is off", "PUT "+access, body("VMAccessForLinux", `{}`, `{}`), 409, "OperationNotAllowed", "when the VM is not running")
	if list := s.must(200, "GET "+vm+"/extensions", ""); at(list, "value.0.name") != "enablevmaccess" || at(list, "value.1") != nil {
		t.Errorf("extensions: %v", list)
	}
}

// keptLogs stand for the storage account that serial logs are kept in, by URL.
type keptLogs struct {
	mu  sync.Mutex
	all map[string]string
}

func (k *keptLogs) keep(_ context.Context, url string, log io.Reader) error {
	data, err := io.ReadAll(log)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]string{}
	}
	k.all[url] = string(data)
	return err
}

func (k *keptLogs) at(url string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[url]
}

func TestCustomData(t *testing.T) {
	var logs keptLogs
	s := newService(t, t.TempDir(), "fast", func(c *dsvm.Config) {
		c.KeepLog = logs.keep
	})
	_, line := newRSA(t)
	with := func(data string) string {
		return strings.Replace(withKey(line), `"adminUsername"`, `"customData":"`+base64.StdEncoding.EncodeToString([]byte(data))+`","adminUsername"`, 1)
	}
	mime := "Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x\nContent-Type: text/cloud-config\n\n#cloud-config\nruncmd:\n- [sh, -c, 'echo \"$0\" >> ~/told', 'a list']\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho a part >> ~/told\n--x--\n"
	for _, c := range []struct{ name, data, want string }{
		{"script", "#!/bin/sh\necho $USER $(basename $HOME) > ~/told; pwd >> ~/told", user + " " + user + "\n/"},
		{"config", "#cloud-config\npackages: [nothing]\nbootcmd:\n- echo first > ~/told\nwrite_files:\n- {path: /home/" + user + "/a/b, content: aGk=, encoding: b64, permissions: '0600'}\nruncmd:\n- cat ~/a/b >> ~/told\n- false\n- stat -c ' %a' ~/a/b >> ~/told", "first\nhi 600"},
		{"mime", mime, "a list\na part"},
	} {
		vm, _ := s.vm("cd-"+c.name, with(c.data))
		if shown := s.must(200, "GET "+vm, ""); at(shown, "properties.osProfile.customData") != nil {
			t.Errorf("%s: the custom data is shown", c.name)
		}
		told := ""
		within(t, func() bool {
			told = s.runs(vm, `{"commandId":"RunShellScript","script":["cat ~/told"]}`)
			told = strings.TrimSuffix(strings.TrimPrefix(told, "Enable succeeded: \n[stdout]\n"), "\n\n[stderr]\n")
			return told == c.want
		}, func() string { return c.name + ": " + told })
		// At the first boot alone.
		s.must(202, "POST "+vm+"/restart", "")
		s.runs(vm, `{"commandId":"RunShellScript","script":["sleep 0.2"]}`)
		if again := s.runs(vm, `{"commandId":"RunShellScript","script":["cat ~/told"]}`); !strings.Contains(again, "\n"+c.want+"\n") {
			t.Errorf("%s: after a restart %q", c.name, again)
		}
	}
	// As new, it boots for the first time again.
	vm := compute + "cd-script"
	s.runs(vm, `{"commandId":"RunShellScript","script":["echo mine > ~/told; echo mine > ~/other"]}`)
	s.must(202, "POST "+vm+"/reimage", "")
	within(t, func() bool {
		got := s.runs(vm, `{"commandId":"RunShellScript","script":["cat ~/told; ls ~/other 2>&1"]}`)
		return strings.Contains(got, user+" "+user) && strings.Contains(got, "No such file")
	}, func() string { return "after a reimage it has its old disk" })
	nic := s.nets("bad")
	for _, bad := range []string{"no base64!", base64.StdEncoding.EncodeToString(make([]byte, 70000))} {
		profile := strings.Replace(withKey(line), `"adminUsername"`, `"customData":"`+bad+`","adminUsername"`, 1)
		s.refused("custom data", "PUT "+compute+"bad", vmBody("Standard_DS1_v2", nic, profile), 400, "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding")
	}
	diagnosed := strings.Replace(vmBody("Standard_DS1_v2", nic, withKey(line)), `"hardwareProfile"`, `"diagnosticsProfile":{"bootDiagnostics":{"enabled":true,"storageUri":"https://here.blob.core.windows.net/"}},"hardwareProfile"`, 1)
	s.must(201, "PUT "+compute+"bad", diagnosed)
	url, _ := at(s.must(200, "GET "+compute+"bad/instanceView", ""), "bootDiagnostics.serialConsoleLogBlobUri").(string)
	if !strings.HasPrefix(url, "https://here.blob.core.windows.net/bootdiagnostics-bad-") || !strings.Contains(logs.at(url), "SSH server listens at") {
		t.Errorf("%q: %q", url, logs.at(url))
	}
}

// TestManagedBootDiagnostics: today's az names no account, and asks for a URL of the log.
func TestManagedBootDiagnostics(t *testing.T) {
	var logs keptLogs
	s := newService(t, t.TempDir(), "fast", func(c *dsvm.Config) {
		c.KeepLog = logs.keep
		c.SignLog = func(_ context.Context, url string, until time.Time) (string, error) {
			return url + "?until=" + time.Until(until).Round(time.Minute).String(), nil
		}
	})
	vm, _ := s.vm("dark", withPassword)
	get := vm + "/retrieveBootDiagnosticsData?api-version=2020-06-01"
	s.refused("not enabled", "POST "+get, "", 409, "OperationNotAllowed", "Boot diagnostics is not enabled for VM 'dark'")
	s.must(200, "PATCH "+vm+"?api-version=2020-06-01", `{"properties":{"diagnosticsProfile":{"bootDiagnostics":{"enabled":true}}}}`)
	s.refused("an older version", "POST "+vm+"/retrieveBootDiagnosticsData", "", 404, "InvalidResourceType", "retrieveBootDiagnosticsData")
	for _, bad := range []string{"0", "1441", "soon"} {
		s.refused("minutes", "POST "+get+"&sasUriExpirationTimeInMinutes="+bad, "", 400, "InvalidParameter", "sasUriExpirationTimeInMinutes")
	}
	for query, want := range map[string]string{"": "2h0m0s", "&sasUriExpirationTimeInMinutes=1": "1m0s"} {
		url, _ := at(s.must(200, "POST "+get+query, ""), "serialConsoleLogBlobUri").(string)
		blob, until, _ := strings.Cut(url, "?until=")
		if log := logs.at(blob); until != want || !strings.HasPrefix(blob, dsvm.ManagedStorage+"/bootdiagnostics-dark-") || !strings.Contains(log, "SSH server listens at") {
			t.Errorf("%q: %q", url, log)
		}
	}
	if view := s.must(200, "GET "+vm+"/instanceView", ""); at(view, "bootDiagnostics.serialConsoleLogBlobUri") != nil {
		t.Errorf("the managed account is shown: %v", view)
	}
}
