package clients_test

import "testing"

func TestSDKNewWorkspace(t *testing.T) { python(t, sdkNew, "sdknew_workspace.py") }
func TestSDKNewLocal(t *testing.T)     { python(t, sdkNew, "sdknew_local.py") }
func TestSDKNewVM(t *testing.T)        { python(t, sdkNew, "sdknew_vm.py") }
func TestSDKNewDeploy(t *testing.T)    { python(t, sdkNew, "sdknew_deploy.py") }
func TestSDKNewAml(t *testing.T)       { python(t, sdkNew, "sdknew_aml.py") }
