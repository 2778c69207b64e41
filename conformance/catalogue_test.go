package conformance_test

import (
	"regexp"
	"slices"
	"testing"

	"lazulite.dev/conformance"
)

// The catalogue and the suite hold the same requirements, in the same order.
func TestCatalogueIsTheSuite(t *testing.T) {
	list, err := conformance.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	checked := conformance.Checked()
	var ids []string
	for _, r := range list {
		ids = append(ids, r.ID)
		if !slices.Contains(checked, r.ID) {
			t.Errorf("nothing checks %s", r.ID)
		}
	}
	for i, id := range checked {
		if !slices.Contains(ids, id) {
			t.Errorf("the catalogue lacks %s", id)
		}
		if slices.Contains(checked[:i], id) {
			t.Errorf("%s is checked twice", id)
		}
	}
	if !t.Failed() && !slices.Equal(ids, checked) {
		t.Error("the catalogue has another order than the suite")
	}
}

func TestCatalogueIsWhole(t *testing.T) {
	list, err := conformance.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`^[a-z]+(\.[a-z-]+){1,3}$`)
	labels := []string{"core", "aml", "target:local", "target:vm", "deploy", "target:dsvm", "target:batchai", "target:aci", "target:hdinsight", "gpu", "slow", "cost"}
	creates, err := conformance.Creates()
	if err != nil {
		t.Fatal(err)
	}
	billed := func(kind string) bool {
		return regexp.MustCompile(`^Microsoft\.(Compute/virtualMachines|HDInsight/clusters|ContainerInstance/containerGroups|BatchAI/workspaces/(clusters|fileServers))$`).MatchString(kind)
	}
	byID := map[string]conformance.Requirement{}
	for _, r := range list {
		byID[r.ID] = r
		if r.Uses != "" && byID[r.Uses].Cost == 0 {
			t.Errorf("%s uses what %s makes, which is not before it or costs nothing", r.ID, r.Uses)
		}
		if slices.ContainsFunc(creates[r.ID], billed) && r.Cost == 0 && r.Uses == "" {
			t.Errorf("%s creates %q, and says nothing of what that costs", r.ID, creates[r.ID])
		}
		if !id.MatchString(r.ID) || r.Text == "" || r.Source == "" || len(r.Labels) == 0 {
			t.Errorf("%+v is not whole", r)
		}
		if r.Level != conformance.Must && r.Level != conformance.Should && r.Level != conformance.May {
			t.Errorf("%s has the level %q", r.ID, r.Level)
		}
		for _, l := range r.Labels {
			if !slices.Contains(labels, l) {
				t.Errorf("%s has the label %q", r.ID, l)
			}
		}
		if slices.Contains(r.Labels, "cost") != (r.Cost > 0 || r.Uses != "") {
			t.Errorf("%s: the label cost, the estimate %g and what it uses (%s) don't fit", r.ID, r.Cost, r.Uses)
		}
	}
}
