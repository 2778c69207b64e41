package front_test

import (
	"testing"

	"lazulite.dev/emulator/front"
)

func TestHostsLines(t *testing.T) {
	got, err := front.HostsLines("10.0.0.1", []string{"management.azure.com", "Login.MicrosoftOnline.com", "management.azure.com"})
	if want := "10.0.0.1\tlogin.microsoftonline.com\n10.0.0.1\tmanagement.azure.com\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, row := range []struct{ ip, name string }{{"10.0.0.1", "*.azureml.net"}, {"10.0.0.1", "1.2.3.4"}, {"10.0.0.1", "a b"}, {"host", "a.net"}} {
		if _, err := front.HostsLines(row.ip, []string{row.name}); err == nil {
			t.Errorf("%v: no error", row)
		}
	}
}
