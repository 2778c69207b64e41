package arm_test

import (
	"fmt"
	"testing"
)

func TestCopyLoops(t *testing.T) {
	r := newRig(t)
	r.group()
	body := deploymentBody(`"parameters":{"n":{"type":"int","defaultValue":3}},
 "variables":{"copy":[{"name":"sizes","count":2,"input":"[concat('size', copyIndex('sizes', 1))]"}],"plain":{"copy":[{"name":"list","count":"[parameters('n')]","input":{"at":"[copyIndex('list')]"}}],"beside":true}},
 "resources":[
  {"type":"Microsoft.Things/plain","name":"[concat('p', copyIndex())]","apiVersion":"2018-05-01","location":"eastus2","copy":{"name":"plains","count":"[parameters('n')]"},
   "properties":{"index":"[copyIndex(10)]","copy":[{"name":"disks","count":2,"input":{"lun":"[copyIndex('disks')]","of":"[copyIndex()]","named":"[copyIndex('plains')]"}}]},
   "resources":[{"type":"parts","name":"[concat('part', copyIndex())]","apiVersion":"2018-05-01","properties":{"i":"[copyIndex('plains')]"}}]},
  {"type":"Microsoft.Things/plain","name":"[concat('s', copyIndex('serial'))]","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["plains"],"copy":{"name":"serial","count":3,"mode":"Serial","batchSize":2},
   "properties":{"copy":"a word"}},
  {"type":"Microsoft.Things/plain","name":"none","apiVersion":"2018-05-01","location":"eastus2","copy":{"name":"nothing","count":0}},
  {"type":"Microsoft.Things/plain","name":"last","apiVersion":"2018-05-01","location":"eastus2","dependsOn":["serial","nothing"],"properties":{"sizes":"[variables('sizes')]","plain":"[variables('plain')]"}}],
 "outputs":{"ids":{"type":"array","copy":{"count":2,"input":"[concat('p', copyIndex())]"}}}`)
	r.must(201, "PUT "+depl+"d", body)
	r.until("the deployment ends", func() bool {
		s := r.do("GET "+depl+"d", "").get("properties.provisioningState")
		return s == "Succeeded" || s == "Failed"
	})
	d := r.must(200, "GET "+depl+"d", "")
	if d.get("properties.provisioningState") != "Succeeded" || d.get("properties.outputs.ids.value.1") != "p1" {
		t.Fatalf("the deployment: %s", d.body)
	}
	for i := range 3 {
		p := r.must(200, fmt.Sprintf("GET {P}/plain/p%d", i), "")
		for path, want := range map[string]any{"properties.index": float64(10 + i), "properties.disks.1.lun": 1.0, "properties.disks.1.of": float64(i),
			"properties.disks.0.named": float64(i), "properties.disks.2": nil, "properties.copy": nil} {
			if got := p.get(path); got != want {
				t.Errorf("p%d: %s is %v, want %v", i, path, got, want)
			}
		}
		if got := r.must(200, fmt.Sprintf("GET {P}/plain/p%d/parts/part%d", i, i), "").get("properties.i"); got != float64(i) {
			t.Errorf("part %d: %v", i, got)
		}
	}
	last := r.must(200, "GET {P}/plain/last", "")
	if last.get("properties.sizes.1") != "size2" || last.get("properties.plain.list.2.at") != 2.0 || last.get("properties.plain.beside") != true {
		t.Errorf("variables: %s", last.body)
	}
	if got := r.must(200, "GET {P}/plain/s2", ""); got.get("properties.copy") != "a word" {
		t.Errorf("a member that is called copy: %s", got.body)
	}
	r.must(404, "GET {P}/plain/none", "")
	// The third waits for the two of the batch before it, all for the first loop.
	waits := map[string]int{}
	list, _ := d.get("properties.dependencies").([]any)
	for _, e := range list {
		m := e.(map[string]any)
		waits[m["resourceName"].(string)] = len(m["dependsOn"].([]any))
	}
	if waits["s0"] != 3 || waits["s1"] != 3 || waits["s2"] != 5 || waits["last"] != 3 || waits["p0/part0"] != 1 {
		t.Errorf("dependencies: %v", waits)
	}
}
