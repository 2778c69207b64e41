package execution_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestSDK ensures that a script runs inside the SDK's own history context where the interpreter has the SDK.
func TestSDK(t *testing.T) {
	for _, python := range pythons(t) {
		if exec.Command(python, "-c", "import azureml.core").Run() != nil {
			continue
		}
		for _, c := range []struct{ name, end, status, reason, log string }{
			{"ends well", "", "Completed", "", "logged"},
			{"raises", "raise ValueError('boom')", "Failed", "ValueError: boom", "ValueError: boom"},
			{"exits with text", "import sys; sys.exit('no data')", "Failed", "sys.exit('no data')", "no data"},
			{"exits 3", "import sys; sys.exit(3)", "Failed", "exited with code 3", "logged"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				script := "from azureml.core import Run\nrun = Run.get_context()\nrun.log('acc', 0.9)\nprint('logged')\nopen('outputs/m.txt', 'w').write('model')\n" + c.end
				w.invoke(w.localRun(run, runconfig(set(python, "environment", "python", "interpreterPath")), map[string]string{"train.py": script}))
				r := w.waitEnd(run)
				log := w.artifact(run + "/azureml-logs/80_driver_log.txt")
				if r.Status != c.status || c.reason != "" && !strings.Contains(r.Error.Message, c.reason) || !strings.Contains(log, c.log) {
					t.Errorf("%s %v\n%s\nnot served: %q", r.Status, r.Error, log, w.unknown)
				}
				if len(w.metrics) != 1 || !strings.Contains(w.metrics[0], `"acc": 0.9`) {
					t.Errorf("metrics %v", w.metrics)
				}
				if got := w.blob("/azureml/ExperimentRun/" + run + "/outputs/m.txt"); got != "model" {
					t.Errorf("outputs %q", got)
				}
				if strings.Contains(w.artifact(run+"/azureml-logs/60_control_log.txt"), "no azureml SDK") {
					t.Error("ran without the SDK")
				}
			})
		}
		return
	}
	t.Skip("no Python of LAZULITE_PYTHONS has azureml.core")
}
