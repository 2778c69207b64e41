package aml

import (
	"context"

	"lazulite.dev/emulator/arm"
)

// typeHDInsight is the compute type of a Spark cluster's head node, which is
// attached by its SSH address. Its properties are HDInsight.properties of
// machineLearningServices.json 2018-03-01-preview: address, sshPort and
// administratorAccount, as a virtual machine has them.
const typeHDInsight = "HDInsight"

// admitHDInsight checks a cluster that is to be attached: a workspace makes none.
func (s *Service) admitHDInsight(ctx context.Context, v arm.View, c *compute, notes *computeNotes) error {
	if c.Properties.Account != nil {
		notes.Account = *c.Properties.Account
		c.Properties.Account = nil
	}
	switch {
	case c.ResourceID != nil && *c.ResourceID != "":
		return badCompute("properties.resourceId", "An HDInsight cluster is attached by the address of its head node's SSH (name-ssh.azurehdinsight.net), not by its resource id.")
	case c.Properties.Address == "":
		return badCompute("properties.properties.address", "Creating an HDInsight cluster is not supported. Create it in Azure HDInsight, and attach it with its SSH address, user name and password or private key.")
	case c.Properties.Size != "":
		return badCompute("properties.properties.virtualMachineSize", "'virtualMachineSize' is not a property of an HDInsight cluster that is attached.")
	}
	c.ResourceID = nil
	return s.admitAttach(ctx, v, c, notes)
}
