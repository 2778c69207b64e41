package engine_test

import (
	"testing"

	"lazulite.dev/emulator/engine"
)

// This host stands for plain images and for the SDK's, and for no other.
func TestHostImage(t *testing.T) {
	own := engine.HostImage{Match: "mine/*", Command: []string{"serve"}}
	for image, want := range map[string]string{
		"ubuntu": "/bin/sh", "ubuntu:16.04": "/bin/sh", "docker.io/library/debian@sha256:0123": "/bin/sh", "Python:3.6-slim": "python3",
		"mcr.microsoft.com/azureml/base:0.2.0": "/bin/sh", "mcr.microsoft.com/azureml/base-gpu:0.1.4": "/bin/sh", "continuumio/miniconda3": "/bin/sh",
		"mine/server:1":                   "serve",
		"tensorflow/tensorflow:1.8.0-gpu": "", "ubuntu/other": "", "localhost:5000/ubuntu": "", "registry.io/azureml/base": "", "": "",
	} {
		row, ok := engine.FindHostImage(image, own)
		if ok != (want != "") || ok && row.Command[0] != want {
			t.Errorf("%q: %v %v, want %q", image, row, ok, want)
		}
	}
}
