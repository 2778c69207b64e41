// Package requirements holds the version table of the real clients: one file
// for each, as `pip freeze` prints it. An upgrade of a client is a change here.
package requirements

import _ "embed" // the lists

// NVML is nvidia-ml-py, which reads GPUs on a machine.
//
//go:embed nvml.txt
var NVML string

// SDK2018 is azureml 0.1.68 on Python 3.6 with what was current in 2018.
//
//go:embed sdk2018.txt
var SDK2018 string

// SDKNew is the last azureml SDK v1, on Python 3.10 and later.
//
//go:embed sdknew.txt
var SDKNew string

// SDKNewLoose is the same SDK for Python 3.8 and 3.9, where the others of
// SDKNew's versions can't be had: pip chooses them.
//
//go:embed sdknew-loose.txt
var SDKNewLoose string
