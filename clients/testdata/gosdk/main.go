// Command gosdk is a stranger's program on today's Azure SDK for Go: a group, a
// network and the life of a virtual machine. It prints ok.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

const (
	group = "rg-gosdk"
	where = "eastus2"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func refused(code string, err error) {
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.ErrorCode != code {
		log.Fatalf("%s should be refused, but: %v", code, err)
	}
}

func done[T any](ctx context.Context, p *runtime.Poller[T], err error) T {
	check(err)
	v, err := p.PollUntilDone(ctx, nil)
	check(err)
	return v
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	subscription := os.Getenv("AZURE_SUBSCRIPTION_ID")
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	check(err)
	options := &arm.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: 2}}}

	groups, err := armresources.NewResourceGroupsClient(subscription, credential, options)
	check(err)
	_, err = groups.CreateOrUpdate(ctx, group, armresources.ResourceGroup{Location: to.Ptr(where)}, nil)
	check(err)
	_, err = groups.Get(ctx, "rg-nowhere", nil)
	refused("ResourceGroupNotFound", err)

	nets, err := armnetwork.NewVirtualNetworksClient(subscription, credential, options)
	check(err)
	netPoller, err := nets.BeginCreateOrUpdate(ctx, group, "net", armnetwork.VirtualNetwork{Location: to.Ptr(where), Properties: &armnetwork.VirtualNetworkPropertiesFormat{
		AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: []*string{to.Ptr("10.2.0.0/16")}},
		Subnets:      []*armnetwork.Subnet{{Name: to.Ptr("default"), Properties: &armnetwork.SubnetPropertiesFormat{AddressPrefix: to.Ptr("10.2.0.0/24")}}},
	}}, nil)
	net := done(ctx, netPoller, err)
	nics, err := armnetwork.NewInterfacesClient(subscription, credential, options)
	check(err)
	nicPoller, err := nics.BeginCreateOrUpdate(ctx, group, "nic", armnetwork.Interface{Location: to.Ptr(where), Properties: &armnetwork.InterfacePropertiesFormat{
		IPConfigurations: []*armnetwork.InterfaceIPConfiguration{{Name: to.Ptr("one"), Properties: &armnetwork.InterfaceIPConfigurationPropertiesFormat{Subnet: net.Properties.Subnets[0]}}},
	}}, nil)
	nic := done(ctx, nicPoller, err)

	vms, err := armcompute.NewVirtualMachinesClient(subscription, credential, options)
	check(err)
	vm := armcompute.VirtualMachine{Location: to.Ptr(where), Properties: &armcompute.VirtualMachineProperties{
		HardwareProfile: &armcompute.HardwareProfile{VMSize: to.Ptr(armcompute.VirtualMachineSizeTypes("Standard_D2_v2"))},
		StorageProfile: &armcompute.StorageProfile{ImageReference: &armcompute.ImageReference{
			Publisher: to.Ptr("Canonical"), Offer: to.Ptr("UbuntuServer"), SKU: to.Ptr("16.04-LTS"), Version: to.Ptr("latest")}},
		OSProfile:      &armcompute.OSProfile{ComputerName: to.Ptr("vm1"), AdminUsername: to.Ptr("gosdk"), AdminPassword: to.Ptr("A-long-passw0rd!")},
		NetworkProfile: &armcompute.NetworkProfile{NetworkInterfaces: []*armcompute.NetworkInterfaceReference{{ID: nic.ID}}},
	}}
	wrong := vm
	properties := *vm.Properties
	properties.HardwareProfile = &armcompute.HardwareProfile{VMSize: to.Ptr(armcompute.VirtualMachineSizeTypes("Standard_Nothing"))}
	wrong.Properties = &properties
	_, err = vms.BeginCreateOrUpdate(ctx, group, "vm0", wrong, nil)
	refused("InvalidParameter", err)
	vmPoller, err := vms.BeginCreateOrUpdate(ctx, group, "vm1", vm, nil)
	made := done(ctx, vmPoller, err)
	if made.Properties.OSProfile.AdminPassword != nil {
		log.Fatal("the password came back")
	}
	runPoller, err := vms.BeginRunCommand(ctx, group, "vm1", armcompute.RunCommandInput{CommandID: to.Ptr("RunShellScript"), Script: []*string{to.Ptr("echo it-is-$((6*7))")}}, nil)
	said := done(ctx, runPoller, err)
	if len(said.Value) == 0 || !strings.Contains(*said.Value[0].Message, "it-is-42") {
		log.Fatalf("the command said %+v", said.Value)
	}
	offPoller, err := vms.BeginDeallocate(ctx, group, "vm1", nil)
	done(ctx, offPoller, err)
	view, err := vms.InstanceView(ctx, group, "vm1", nil)
	check(err)
	power := ""
	for _, s := range view.Statuses {
		if strings.HasPrefix(*s.Code, "PowerState/") {
			power = *s.Code
		}
	}
	if power != "PowerState/deallocated" {
		log.Fatalf("the power state is %q", power)
	}
	names := 0
	for pages := vms.NewListPager(group, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		check(err)
		names += len(page.Value)
	}
	if names != 1 {
		log.Fatalf("%d machines are listed", names)
	}
	deletePoller, err := vms.BeginDelete(ctx, group, "vm1", nil)
	done(ctx, deletePoller, err)
	_, err = vms.Get(ctx, group, "vm1", nil)
	refused("ResourceNotFound", err)
	groupPoller, err := groups.BeginDelete(ctx, group, nil)
	done(ctx, groupPoller, err)
	fmt.Println("ok")
}
