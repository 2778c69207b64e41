package engine

import "fmt"

// checkJoin refuses what a container that shares another's network can't have of its own.
func checkJoin(spec Spec) error {
	if spec.Join != "" && (spec.Hostname != "" || len(spec.Ports) > 0 || len(spec.Networks) > 0) {
		return fmt.Errorf("%w: a container that joins %s has that one's hostname, ports and networks", ErrInvalid, spec.Join)
	}
	return nil
}

func errNoJoin(name string) error {
	return fmt.Errorf("%w: no container %q runs whose network could be joined", ErrInvalid, name)
}
