package history_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lazulite.dev/emulator/aml/history"
)

// Ensure that the unmodified SDK of 2018 logs, reads, nests, lists and ends runs here.
func TestSDK2018(t *testing.T) {
	venv := os.Getenv("LAZULITE_SDK2018")
	if venv == "" {
		t.Skip("LAZULITE_SDK2018 does not name a Python 3.6 environment with azureml-core 0.1.68")
	}
	script, err := filepath.Abs("testdata/sdk2018.py")
	if err != nil {
		t.Fatal(err)
	}
	const definition = `{"script":"train.py","arguments":["--alpha",0.5],"target":"local","environment":{"python":{"condaDependencies":{"name":"e","dependencies":["python=3.6.2"]}}}}`
	s := serve(t, options{real: true, path: file(t)})
	if _, err := s.Create(t.Context(), workspace, history.NewRun{Experiment: "my-exp", RunID: "my-exp_1", Status: "Running", Target: "local",
		RunType: "azureml.scriptrun", RunDefinition: []byte(definition)}); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), script, "user", "1010")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "AZUREML_SERVICE_ENDPOINT="+s.URL, "AZUREML_RUN_TOKEN="+tokenOf("my-exp_1"),
		"AZUREML_ARM_SUBSCRIPTION=S", "AZUREML_ARM_RESOURCEGROUP=rg", "AZUREML_ARM_WORKSPACE_NAME=ws",
		"AZUREML_ARM_PROJECT_NAME=my-exp", "AZUREML_RUN_ID=my-exp_1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr.Bytes())
	}
	_, result, ok := strings.Cut(string(stdout), "RESULT ")
	if !ok {
		t.Fatalf("no result in %s\n%s", stdout, stderr.Bytes())
	}
	v := decode([]byte(result))
	for _, row := range [][2]string{
		{"id", `"my-exp_1"`}, {"number", "1"}, {"status", `"Running"`}, {"many", "true"}, {"nan", `"nan"`}, {"inf", `"-inf"`},
		{"tags", `{"k":"v","worked":null}`}, {"properties", `{"p":"q"}`},
		{"metrics.acc", "0.9"}, {"metrics.loss", "[3.5,2.5]"}, {"metrics.big", "4611686018427387904"}, {"metrics.text", `"héllo"`},
		{"metrics.l", "[1,2,3]"}, {"metrics.r", `{"x":[1,2],"y":[2.0,3.5]}`}, {"metrics.t", `{"a":[1,2],"b":[3,4]}`},
		{"children.#", "3"}, {"children.0", `["\u003ec2","Completed"]`}, {"children.1", `["\u003ec1","Failed"]`}, {"descendants", "4"}, {"recursive", "[0,1,2,10]"},
		{"interactive", `"Completed"`}, {"broken", `"Failed"`}, {"runs", "[107,107]"},
		{"details.logFiles", "{}"}, {"details.status", `"Running"`}, {"details.target", `"local"`}, {"details.runDefinition", at(decode([]byte(definition)), "")},
		{"tagged", `["my-exp_1"]`}, {"events", `["Heartbeat"]`}, {"experiments", `["inter-active","my-exp"]`},
		{"filtered", `[["my-exp_1"],["my-exp_1"],["my-exp_1"],["my-exp_1"]]`}, {"forbidden", "true"},
	} {
		if got := at(v, row[0]); got != row[1] {
			t.Errorf("%s is %s, want %s", row[0], got, row[1])
		}
	}
}
