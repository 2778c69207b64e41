package docker

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"

	"lazulite.dev/emulator/engine"
)

// BaseImage is the image that Images.Build makes: what machines and nodes run.
const BaseImage = "lazulite/base:latest"

// SparkImage is the same with a Java and Apache Spark, as far as it was built: what HDInsight's nodes run.
const SparkImage = "lazulite/spark:latest"

// builtBy are the commands that make our images.
func builtBy(image string) string {
	switch image {
	case BaseImage:
		return "lazulite images build"
	case SparkImage:
		return "lazulite images build --spark"
	}
	return ""
}

// Table says which local image stands for which name, in order: the first row that matches counts.
type Table []Row

// Row of a Table. Match is an image name as clients send it, or one with *, as
// engine.MatchImage takes it: the tag may be left out, and then any will do.
type Row struct {
	Match string `json:"match"`
	Image string `json:"image"`
}

// DefaultTable maps the names that clients of 2018 send: the SDK's base images,
// and the publishers' images of virtual machines (publisher:offer:sku:version).
// Those of mmlspark have Spark, and so have Data Science VMs.
func DefaultTable() Table {
	var t Table
	for _, n := range []string{"mcr.microsoft.com/mmlspark/*", "microsoft/mmlspark", "microsoft-dsvm:*", "microsoft-ads:*"} {
		t = append(t, Row{Match: n, Image: SparkImage})
	}
	for _, n := range []string{
		"", "ubuntu", "debian",
		"mcr.microsoft.com/azureml/*", "mcr.microsoft.com/azureml/*/*",
		"continuumio/*", "microsoft/azureml*",
		"canonical:*", "credativ:*", "debian:debian-*",
	} {
		t = append(t, Row{Match: n, Image: BaseImage})
	}
	return t
}

// ReadTable reads rows from JSON: a list of {"match": ..., "image": ...}. They
// are put in front of the DefaultTable.
func ReadTable(r io.Reader) (Table, error) {
	var t Table
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return nil, fmt.Errorf("image table: %w", err)
	}
	for i, row := range t {
		if row.Image == "" {
			return nil, fmt.Errorf("image table: row %d has no image", i+1)
		}
		if _, err := path.Match(row.Match, ""); err != nil {
			return nil, fmt.Errorf("image table: row %d: match %q: %w", i+1, row.Match, err)
		}
	}
	return append(t, DefaultTable()...), nil
}

// Lookup gives the image that stands for a name.
func (t Table) Lookup(name string) (string, bool) {
	i := slices.IndexFunc(t, func(r Row) bool { return engine.MatchImage(r.Match, name) })
	if i < 0 {
		return "", false
	}
	return t[i].Image, true
}
