package hdinsight_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"lazulite.dev/emulator/engine"
)

// processes is a service whose nodes are processes of this host.
func processes(t *testing.T, dir string) *service {
	t.Helper()
	e, err := engine.NewProcess(engine.Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, dir, e, nil)
}

// shell runs a command by SSH at a name; the error is the login's.
func (s *service) shell(host, password, command string) (string, error) {
	s.Helper()
	address, port, ok := s.fake.Resolve(host)
	if !ok {
		return "", errors.New("the name is not known")
	}
	c, err := gossh.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)), &gossh.ClientConfig{User: "sshuser", Auth: []gossh.AuthMethod{gossh.Password(password)},
		HostKeyCallback: func(string, net.Addr, gossh.PublicKey) error { return nil }})
	if err != nil {
		return "", err
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.Output(command)
	return string(out), err
}

func TestScriptsAndApplicationsOnNodes(t *testing.T) {
	s := processes(t, t.TempDir())
	c := clusters + "kafka1"
	s.must(200, "PUT "+c, body("kafka", "2"))
	const head = "kafka1-ssh.azurehdinsight.net"
	if out, err := s.shell(head, secret, "echo $USER; echo kept >file"); out != "sshuser\n" || err != nil {
		t.Fatalf("login: %q %v", out, err)
	}
	if _, err := s.shell(head, "Wrong-Horse7", "true"); err == nil {
		t.Error("a wrong password is taken")
	}
	run := func(name, uri, roles string, persist bool) (any, string) {
		return s.follow(202, "POST "+c+"/executeScriptActions", fmt.Sprintf(`{"persistOnSuccess":%t,"scriptActions":[{"name":%q,"uri":%q,"parameters":"%s 'and more'","roles":[%s]}]}`, persist, name, scripts+uri, name, roles))
	}
	if _, end := run("first", "good.sh", `"headnode","workernode"`, false); end != "Succeeded" {
		t.Errorf("a good script ends %s", end)
	}
	if out, _ := s.shell(head, secret, "cat ran"); out != "first\n" {
		t.Errorf("on the head node it left %q", out)
	}
	if out, end := run("broken", "bad.sh", `"workernode"`, true); end != "Failed" || at(out, "error/code") != "ScriptExecutionFailed" {
		t.Errorf("a broken script ends %s: %v", end, out)
	}
	history := s.must(200, "GET "+c+"/scriptExecutionHistory", "")
	if at(history, "value/0/status") != "Failed" || at(history, "value/0/executionSummary/0/status") != "FAILED" || at(history, "value/0/executionSummary/0/instanceCount") != 2.0 ||
		at(history, "value/1/executionSummary/0/instanceCount") != 3.0 {
		t.Errorf("history: %v", history)
	}
	id := func(i int) string {
		return strconv.FormatFloat(at(history, fmt.Sprintf("value/%d/scriptExecutionId", i)).(float64), 'f', 0, 64)
	}
	if detail := s.must(200, "GET "+c+"/scriptExecutionHistory/"+id(0), ""); at(detail, "debugInformation") == nil {
		t.Errorf("detail: %v", detail)
	}
	if status, _, out := s.do("POST "+c+"/scriptExecutionHistory/"+id(0)+"/promote", ""); status != 400 {
		t.Errorf("a script that failed is promoted: %d %v", status, out)
	}
	s.must(200, "POST "+c+"/scriptExecutionHistory/"+id(1)+"/promote", "")
	if status, _, out := s.do("POST "+c+"/scriptExecutionHistory/"+id(1)+"/promote", ""); status != 409 {
		t.Errorf("promoted twice: %d %v", status, out)
	}
	// What is persisted runs on workers that come.
	s.must(202, "POST "+c+"/roles/workernode/resize", `{"targetInstanceCount":3}`)
	if h := s.must(200, "GET "+c+"/scriptExecutionHistory", ""); at(h, "value/0/name") != "first" || at(h, "value/0/executionSummary/0/instanceCount") != 1.0 {
		t.Errorf("after the cluster grew: %v", h)
	}
	s.must(200, "DELETE "+c+"/scriptActions/first", "")
	if all := s.must(200, "GET "+c+"/scriptActions", ""); len(at(all, "value").([]any)) != 0 {
		t.Errorf("persisted: %v", all)
	}

	app := c + "/applications/hue"
	edge := func(script string) string {
		return `{"properties":{"computeProfile":{"roles":[{"name":"edgenode","targetInstanceCount":1,"hardwareProfile":{"vmSize":"Standard_D3_V2"}}]},` +
			`"installScriptActions":[{"name":"install","uri":"` + scripts + script + `","parameters":"installed","roles":["edgenode"]}],"httpsEndpoints":[],"applicationType":"CustomApplication"}}`
	}
	s.must(200, "PUT "+app, edge("good.sh"))
	shown := s.must(200, "GET "+app, "")
	if at(shown, "properties/applicationState") != "Running" || at(shown, "properties/sshEndpoints/0/location") != "hue.kafka1-ssh.azurehdinsight.net:22" || at(shown, "properties/installScriptActions/0/parameters") != nil {
		t.Errorf("application: %v", shown)
	}
	if out, err := s.shell("hue.kafka1-ssh.azurehdinsight.net", secret, "cat ran"); out != "installed\n" || err != nil {
		t.Errorf("on the edge node: %q %v", out, err)
	}
	if out, end := s.follow(200, "PUT "+c+"/applications/bad", edge("bad.sh")); end != "Failed" {
		t.Errorf("an application whose script fails ends %s: %v", end, out)
	}
	if shown := s.must(200, "GET "+c+"/applications/bad", ""); at(shown, "properties/applicationState") != "Error" || at(shown, "properties/errors/0/code") != "ScriptExecutionFailed" {
		t.Errorf("the application that failed: %v", shown)
	}
	s.must(202, "DELETE "+app, "")
	if _, err := s.shell("hue.kafka1-ssh.azurehdinsight.net", secret, "true"); err == nil {
		t.Error("the edge node is still there")
	}
	if out, err := s.shell(head, secret, "cat file"); out != "kept\n" || err != nil {
		t.Errorf("the head node meanwhile: %q %v", out, err)
	}
	s.must(202, "DELETE "+c, "")
	if _, err := s.shell(head, secret, "true"); err == nil {
		t.Error("the head node is still there")
	}
}

// TestRestart closes and opens: nodes, addresses and homes are as they were.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var before string
	t.Run("before", func(t *testing.T) {
		s := processes(t, dir)
		s.must(200, "PUT "+clusters+"kept1", body("kafka", "1"))
		if _, err := s.shell("kept1-ssh.azurehdinsight.net", secret, "echo kept >file"); err != nil {
			t.Fatal(err)
		}
		address, port, _ := s.fake.Resolve("kept1-ssh.azurehdinsight.net")
		before = fmt.Sprint(address, port)
	})
	s := processes(t, dir)
	if out, err := s.shell("kept1-ssh.azurehdinsight.net", secret, "cat file"); out != "kept\n" || err != nil {
		t.Errorf("after the restart: %q %v", out, err)
	}
	if address, port, _ := s.fake.Resolve("kept1-ssh.azurehdinsight.net"); fmt.Sprint(address, port) != before {
		t.Errorf("it was at %s and is at %s%d", before, address, port)
	}
}

// TestWithoutSpark asks for a cluster where Spark is not installed: it says what to run.
func TestWithoutSpark(t *testing.T) {
	s := processes(t, t.TempDir())
	out, end := s.follow(200, "PUT "+clusters+"spark1", body("spark", "1"))
	if end != "Failed" || at(out, "error/message") != "Apache Spark and Hadoop YARN are not installed on this machine; run: lazulite spark install" {
		t.Errorf("it ends %s: %v", end, out)
	}
	if shown := s.must(200, "GET "+clusters+"spark1", ""); at(shown, "properties/clusterState") != "Error" || at(shown, "properties/errors/0/message") == nil {
		t.Errorf("shown: %v", shown)
	}
	s.must(202, "DELETE "+clusters+"spark1", "")
}
