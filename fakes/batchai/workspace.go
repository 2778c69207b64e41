package batchai

import (
	"context"
	"strings"

	"lazulite.dev/emulator/arm"
)

// admitFolder takes a workspace or an experiment: neither has properties of its own.
func (f *Fake) admitFolder(_ context.Context, _ arm.View, _ arm.Call, _, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	return encode(map[string]any{}, &next.Properties)
}

func (f *Fake) renderFolder(c arm.Call, r *arm.Resource) (any, error) {
	doc, err := arm.Envelope(r)
	if err != nil {
		return nil, err
	}
	properties := child(doc, "properties")
	properties["creationTime"] = stamp(r.Created)
	properties["provisioningStateTransitionTime"] = stamp(r.Created)
	if r.Deleting {
		properties["provisioningStateTransitionTime"] = stamp(r.Modified)
	}
	delete(doc, "etag")
	if !strings.EqualFold(r.ID.Type(), typeWorkspace) || r.Tags == nil {
		delete(doc, "tags")
	}
	return doc, nil
}
