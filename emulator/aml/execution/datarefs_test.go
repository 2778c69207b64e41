package execution_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataReferences(t *testing.T) {
	w := newWorld(t)
	big := strings.Repeat("0123456789abcdef", 600<<10)
	for name, content := range map[string]string{
		"mnist/train/a b.txt": "train", "mnist/big": big, "mnist2/x": "other", "one.csv": "1,2",
		"out/there.txt": "old", "mnist/../../evil": "evil",
	} {
		w.blobs["/data/"+name] = []byte(content)
	}
	ref := func(mode, path, onCompute string, overwrite bool) map[string]any {
		return map[string]any{"dataStoreName": "store", "pathOnDataStore": path, "mode": mode, "pathOnCompute": onCompute, "overwrite": overwrite}
	}
	script := `import os, sys
d, m, f = sys.argv[1], os.environ["AZUREML_DATAREFERENCE_mounted"], sys.argv[3]
print(sorted(os.listdir(d)), open(os.path.join(d, "train", "a b.txt")).read(), os.path.getsize(os.path.join(d, "big")))
print(sys.argv[2] == m + "/sub", open(os.path.join(f, "one.csv")).read())
open(os.path.join(m, "train", "a b.txt"), "w").write("changed")
open(os.path.join(m, "new.txt"), "w").write("new")
s = os.environ["AZUREML_DATAREFERENCE_single"]
print(os.path.isfile(s), os.path.basename(s), open(s).read())
open(s, "w").write("changed too")
open("result/there.txt", "w").write("new")
open("result/deep/big", "w").write(open(os.path.join(d, "big")).read())
`
	config := runconfig(
		set(map[string]any{
			"data": ref("download", "mnist", "", false), "mounted": ref("Mount", "/mnist/", "", false),
			"file": ref("download", "one.csv", "files", false), "single": ref("mount", "mnist2/x", "", false), "out": ref("upload", "out", "result", false), "over": ref("upload", "over", "result/deep/big", true),
		}, "dataReferences"),
		set([]any{"$AZUREML_DATAREFERENCE_data", "${AZUREML_DATAREFERENCE_mounted}/sub", "$AZUREML_DATAREFERENCE_file"}, "arguments"),
		set(pythons(t)[0], "environment", "python", "interpreterPath"))
	dir := w.localRun(run, config, map[string]string{"train.py": script})
	w.invoke(dir)
	if r := w.waitEnd(run); r.Status != "Completed" {
		t.Fatalf("%s %v\n%s", r.Status, r.Error, w.artifact(run+"/azureml-logs/80_driver_log.txt"))
	}
	log := w.artifact(run + "/azureml-logs/80_driver_log.txt")
	for _, line := range []string{"['big', 'train'] train 9830400\n", "True 1,2\n", "True x other\n"} {
		if !strings.Contains(log, line) {
			t.Errorf("no %q in %s", line, log)
		}
	}
	for name, want := range map[string]string{
		"mnist/train/a b.txt": "changed", "mnist2/x": "changed too", "mnist2/x/x": "", "mnist/new.txt": "new", "out/there.txt": "old", "out/deep/big": big, "over": big, "mnist/big": big,
	} {
		if got := w.blob("/data/" + name); got != want {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "evil")); err == nil {
		t.Error("a blob was written outside of its folder")
	}
	if len(w.warnings) != 2 || !strings.Contains(w.warnings[0].Message, "'mounted' is not mounted") {
		t.Errorf("warnings %v", w.warnings)
	}
	if log := w.artifact(run + "/azureml-logs/60_control_log.txt"); !strings.Contains(log, "target already exists, skipping the upload of out/there.txt") || !strings.Contains(log, "no FUSE") {
		t.Errorf("control log:\n%s", log)
	}
}
