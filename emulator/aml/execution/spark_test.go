package execution_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSparkSubmit has spark_submit.py become a spark-submit that only tells what it was given.
func TestSparkSubmit(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on PATH")
	}
	root, home, hadoop := t.TempDir(), t.TempDir(), t.TempDir()
	setup := filepath.Join(root, "azureml-setup")
	write := func(file, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"spark.py", "spark_submit.py"} {
		text, err := os.ReadFile(filepath.Join("control", name))
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(setup, name), string(text), 0o644)
	}
	write(filepath.Join(home, "bin", "spark-submit"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\necho python=$PYSPARK_PYTHON\n", 0o755)
	write(filepath.Join(home, "bin", "java"), "#!/bin/sh\n", 0o755)
	write(filepath.Join(home, "jars", "scala-library-2.12.18.jar"), "", 0o644)
	write(filepath.Join(home, "version.py"), `__version__: str = "9.1.0"`, 0o644)
	write(filepath.Join(home, "conf", "spark-defaults.conf"), "spark.of.defaults yes\n", 0o644)
	write(filepath.Join(hadoop, "yarn-site.xml"), "<configuration><property><name>yarn.resourcemanager.hostname</name><value>127.0.0.1</value></property></configuration>", 0o644)
	write(filepath.Join(root, "train.py"), "", 0o644)
	write(filepath.Join(setup, "credentials.json"), `{"token":"SECRET","containers":{"a":"SAS"}}`, 0o600)
	launch := func(mode string) string {
		b, err := json.Marshal(map[string]any{"failure": filepath.Join(setup, "failure.json"), "substitutions": filepath.Join(setup, "substitutions.json"), "spark": map[string]any{
			"yarn": true, "home": "", "deployMode": mode, "runId": "r1", "managed": false, "variables": []string{"AZUREML_RUN_TOKEN", "ODD"},
			"configuration": map[string]string{"spark.x": "1 2"}, "repositories": []string{"https://maven"},
			"packages": []string{"g:a_2.11:1", "g:b_2.12:1"}}})
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(setup, "launch.json"), string(b), 0o600)
		return filepath.Join(setup, "launch.json")
	}
	submit := func(mode string, env ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), python, filepath.Join(setup, "spark_submit.py"), launch(mode))
		cmd.Env = append([]string{"PATH=" + filepath.Join(home, "bin") + ":/usr/bin:/bin", "SPARK_HOME=" + home, "HADOOP_CONF_DIR=" + hadoop,
			"AZUREML_RUN_TOKEN=SECRET", `ODD=a\b: ü`, "PYTHONDONTWRITEBYTECODE=1"}, env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for mode, want := range map[string][]string{
		"client":  {"--deploy-mode\nclient\n", "run_script.py\n"},
		"cluster": {"--deploy-mode\ncluster\n", "spark-driver.zip#azureml-setup", "project-files.zip#azureml-project", "spark_driver.py\n"},
	} {
		out, err := submit(mode)
		if err != nil {
			t.Fatalf("%s: %v\n%s", mode, err, out)
		}
		for _, w := range append(want, "Spark 9.1.0", "--master\nyarn\n", "--packages\ng:b_2.12:1\n", "--repositories\nhttps://maven\n", "--conf\nspark.x=1 2\n",
			"g:a_2.11:1 is built for Scala 2.11") {
			if !strings.Contains(out, w) {
				t.Errorf("%s: %q is not in\n%s", mode, w, out)
			}
		}
		if strings.Contains(out, "SECRET") {
			t.Errorf("%s: the token is on the command line", mode)
		}
	}
	info, err := os.Stat(filepath.Join(setup, "spark.properties"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("spark.properties: %v %v", info, err)
	}
	properties, err := os.ReadFile(filepath.Join(setup, "spark.properties"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"spark.of.defaults yes\n", `spark.executorEnv.ODD=a\\b: \u00fc`, "spark.executorEnv.AZUREML_RUN_TOKEN=SECRET\n", "spark.yarn.tags=azureml-r1\n"} {
		if !strings.Contains(string(properties), w) {
			t.Errorf("%q is not in\n%s", w, properties)
		}
	}
	// What users get to see of it, in the run's warnings.
	notes, err := os.ReadFile(filepath.Join(setup, "substitutions.json"))
	if err != nil || !strings.Contains(string(notes), "Spark 9.1.0 in "+home+", Scala 2.12") || !strings.Contains(string(notes), "g:a_2.11:1") {
		t.Errorf("substitutions.json: %v %s", err, notes)
	}
	// Where Spark's own master is in the place of YARN the driver is here, and the user is told; on other machines it is refused.
	write(filepath.Join(home, "conf", "spark-defaults.conf"), "spark.master spark://127.0.0.1:7077\n", 0o644)
	if out, err := submit("cluster", "HADOOP_CONF_DIR="+home); err != nil || strings.Contains(out, "--master") || !strings.Contains(out, "run_script.py\n") {
		t.Errorf("on Spark's own master: %v %s", err, out)
	}
	if notes, err = os.ReadFile(filepath.Join(setup, "substitutions.json")); err != nil || !strings.Contains(string(notes), "The cluster has no YARN") {
		t.Errorf("substitutions.json: %v %s", err, notes)
	}
	write(filepath.Join(home, "conf", "spark-defaults.conf"), "spark.master spark://hn0-sparky:7077\n", 0o644)
	if out, err := submit("cluster", "HADOOP_CONF_DIR="+home); err == nil || !strings.Contains(out, "runs of PySpark need YARN there") {
		t.Errorf("on Spark's own master on machines of their own: %v %s", err, out)
	}
	// A Python that this Spark does not work with is refused before it fails in some other way.
	write(filepath.Join(home, "version.py"), `__version__: str = "2.1.0"`, 0o644)
	if out, err := submit("client"); err == nil || !strings.Contains(out, "Spark 2.1.0 works with Python 2.7 to 3.5") {
		t.Errorf("%v %s", err, out)
	}
	// Without a Java the run says so, and nothing is submitted.
	if err := os.Remove(filepath.Join(home, "bin", "java")); err != nil {
		t.Fatal(err)
	}
	out, err := submit("client", "JAVA_HOME=/nowhere")
	failure, rerr := os.ReadFile(filepath.Join(setup, "failure.json"))
	if err == nil || rerr != nil || !strings.Contains(string(failure), "needs a Java") {
		t.Errorf("%v %s %s", err, out, failure)
	}
}
