package aci

import (
	"context"
	_ "embed"
	"encoding/json"
	"sync"

	"lazulite.dev/emulator/arm"
)

//go:embed operations.json
var operationsJSON []byte

type operation struct{ Name, Resource, Operation, Description string }

var operations = sync.OnceValue(func() []operation {
	var all []operation
	if err := json.Unmarshal(operationsJSON, &all); err != nil {
		panic("aci: embedded operations.json: " + err.Error())
	}
	return all
})

// listOperations is GET /providers/Microsoft.ContainerInstance/operations.
func (f *Fake) listOperations(context.Context, arm.Call) (any, error) {
	out := []any{}
	for _, o := range operations() {
		out = append(out, map[string]any{"name": o.Name, "origin": "User",
			"display": map[string]string{"provider": "Microsoft Container Instance", "resource": o.Resource, "operation": o.Operation, "description": o.Description}})
	}
	return listed{out}, nil
}
