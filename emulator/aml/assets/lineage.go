package assets

import (
	"encoding/json"
	"strings"

	"lazulite.dev/emulator/aml/mms"
)

// patch takes out the operations on what models alone have, and returns the others.
func (l lineage) patch(ops []mms.PatchOp) ([]mms.PatchOp, lineage, error) {
	var rest []mms.PatchOp
	for _, op := range ops {
		var to any
		switch strings.ToLower(op.Path) {
		case "/sampleinputdata":
			to = &l.SampleInputData
		case "/sampleoutputdata":
			to = &l.SampleOutputData
		case "/resourcerequirements":
			to = &l.ResourceRequirements
		case "/datasets":
			to = &l.Datasets
		default:
			rest = append(rest, op)
			continue
		}
		if verb := strings.ToLower(op.Op); verb != "add" && verb != "replace" {
			return nil, l, mms.BadPatch("op", "the operation '%s' is not supported for '%s'; it must be add or replace.", op.Op, op.Path)
		}
		if err := json.Unmarshal(op.Value, to); err != nil {
			return nil, l, mms.BadPatch("value", "the value of '%s' does not fit.", op.Path)
		}
	}
	return rest, l, nil
}
