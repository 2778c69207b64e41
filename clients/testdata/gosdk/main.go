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
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/hdinsight/armhdinsight"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
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
	key := storage(ctx, subscription, credential, options)
	spark(ctx, subscription, key, credential, options)
	groupPoller, err := groups.BeginDelete(ctx, group, nil)
	done(ctx, groupPoller, err)
	fmt.Println("ok")
}

const account = "gosdkstore01"

// storage makes an account and gives its key.
func storage(ctx context.Context, subscription string, credential azcore.TokenCredential, options *arm.ClientOptions) string {
	accounts, err := armstorage.NewAccountsClient(subscription, credential, options)
	check(err)
	poller, err := accounts.BeginCreate(ctx, group, account, armstorage.AccountCreateParameters{Location: to.Ptr(where), Kind: to.Ptr(armstorage.KindStorageV2),
		SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)}}, nil)
	made := done(ctx, poller, err)
	if *made.Properties.PrimaryEndpoints.Blob != "https://"+account+".blob.core.windows.net/" {
		log.Fatalf("the account's blobs are at %s", *made.Properties.PrimaryEndpoints.Blob)
	}
	taken, err := accounts.CheckNameAvailability(ctx, armstorage.AccountCheckNameAvailabilityParameters{Name: to.Ptr(account), Type: to.Ptr("Microsoft.Storage/storageAccounts")}, nil)
	check(err)
	if *taken.NameAvailable {
		log.Fatal("the account's name is free")
	}
	keys, err := accounts.ListKeys(ctx, group, account, nil)
	check(err)
	if len(keys.Keys) != 2 {
		log.Fatalf("%d keys", len(keys.Keys))
	}
	_, err = accounts.GetProperties(ctx, group, "gosdknowhere", nil)
	refused("ResourceNotFound", err)
	return *keys.Keys[0].Value
}

// spark asks for clusters that are refused, and for what can be had: whether one runs is asked by the Python SDK's tests.
func spark(ctx context.Context, subscription, key string, credential azcore.TokenCredential, options *arm.ClientOptions) {
	clusters, err := armhdinsight.NewClustersClient(subscription, credential, options)
	check(err)
	role := func(name string, count int32) *armhdinsight.Role {
		return &armhdinsight.Role{Name: to.Ptr(name), TargetInstanceCount: to.Ptr(count), HardwareProfile: &armhdinsight.HardwareProfile{VMSize: to.Ptr("Standard_D3_v2")},
			OSProfile: &armhdinsight.OsProfile{LinuxOperatingSystemProfile: &armhdinsight.LinuxOperatingSystemProfile{Username: to.Ptr("sshuser"), Password: to.Ptr("A-long-passw0rd!")}}}
	}
	order := func(password, key string) armhdinsight.ClusterCreateParametersExtended {
		return armhdinsight.ClusterCreateParametersExtended{Location: to.Ptr(where), Properties: &armhdinsight.ClusterCreateProperties{
			ClusterVersion: to.Ptr("3.6"), OSType: to.Ptr(armhdinsight.OSTypeLinux), Tier: to.Ptr(armhdinsight.TierStandard),
			ClusterDefinition: &armhdinsight.ClusterDefinition{Kind: to.Ptr("spark"), Configurations: map[string]any{"gateway": map[string]any{
				"restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": password}}},
			ComputeProfile: &armhdinsight.ComputeProfile{Roles: []*armhdinsight.Role{role("headnode", 2), role("workernode", 1)}},
			StorageProfile: &armhdinsight.StorageProfile{Storageaccounts: []*armhdinsight.StorageAccount{{Name: to.Ptr(account + ".blob.core.windows.net"), IsDefault: to.Ptr(true), Container: to.Ptr("spark"), Key: to.Ptr(key)}}}}}
	}
	var e *azcore.ResponseError
	for why, o := range map[string]armhdinsight.ClusterCreateParametersExtended{"password": order("weak", key), "key": order("A-long-passw0rd!", "d3Jvbmc=")} {
		if _, err := clusters.BeginCreate(ctx, group, "sparky", o, nil); !errors.As(err, &e) || e.StatusCode != 400 {
			log.Fatalf("a cluster with a wrong %s: %v", why, err)
		}
	}
	_, err = clusters.Get(ctx, group, "sparky", nil)
	refused("ResourceNotFound", err)
	locations, err := armhdinsight.NewLocationsClient(subscription, credential, options)
	check(err)
	usages, err := locations.ListUsages(ctx, where, nil)
	check(err)
	if len(usages.Value) == 0 || *usages.Value[0].Limit == 0 {
		log.Fatalf("usages: %+v", usages.Value)
	}
	capabilities, err := locations.GetCapabilities(ctx, where, nil)
	check(err)
	if len(capabilities.Versions) == 0 {
		log.Fatal("no versions of clusters are to be had")
	}
}
