// Command armcontainerinstance is a container group's life by Azure's own SDK
// for Go: of two containers, created, listed, executed in, and deleted.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	aci "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerinstance/armcontainerinstance/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/coder/websocket"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run(ctx context.Context) error {
	roots := x509.NewCertPool()
	bundle, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		return err
	}
	roots.AppendCertsFromPEM(bundle)
	way := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	options := azcore.ClientOptions{Transport: way}
	cred, err := azidentity.NewClientSecretCredential(os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID"), os.Getenv("AZURE_CLIENT_SECRET"), &azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		return err
	}
	subscription := os.Getenv("AZURE_SUBSCRIPTION_ID")
	groups, err := armresources.NewResourceGroupsClient(subscription, cred, &arm.ClientOptions{ClientOptions: options})
	if err != nil {
		return err
	}
	if _, err := groups.CreateOrUpdate(ctx, "rg", armresources.ResourceGroup{Location: to.Ptr("westus")}, nil); err != nil {
		return err
	}
	factory, err := aci.NewClientFactory(subscription, cred, &arm.ClientOptions{ClientOptions: policy.ClientOptions{Transport: way}})
	if err != nil {
		return err
	}
	container := func(name, script string) *aci.Container {
		return &aci.Container{Name: to.Ptr(name), Properties: &aci.ContainerProperties{Image: to.Ptr("python:3.11"), Command: []*string{to.Ptr("/bin/sh"), to.Ptr("-c"), to.Ptr(script)},
			EnvironmentVariables: []*aci.EnvironmentVariable{{Name: to.Ptr("KEY"), SecureValue: to.Ptr("not-to-be-seen")}},
			Resources:            &aci.ResourceRequirements{Requests: &aci.ResourceRequests{CPU: to.Ptr(0.5), MemoryInGB: to.Ptr(0.5)}}}}
	}
	create, err := factory.NewContainerGroupsClient().BeginCreateOrUpdate(ctx, "rg", "pair", aci.ContainerGroup{Location: to.Ptr("westus"), Properties: &aci.ContainerGroupPropertiesProperties{
		OSType: to.Ptr(aci.OperatingSystemTypesLinux), RestartPolicy: to.Ptr(aci.ContainerGroupRestartPolicyNever),
		Containers: []*aci.Container{container("one", "echo from one; exec sleep 600"), container("two", "echo from two; exec sleep 600")}}}, nil)
	if err != nil {
		return err
	}
	made, err := create.PollUntilDone(ctx, nil)
	if err != nil {
		return err
	}
	if got := *made.Properties.InstanceView.State; got != "Running" || made.Properties.Containers[0].Properties.EnvironmentVariables[0].SecureValue != nil {
		return fmt.Errorf("created: %s", got)
	}
	for _, name := range []string{"one", "two"} {
		log, err := factory.NewContainersClient().ListLogs(ctx, "rg", "pair", name, &aci.ContainersClientListLogsOptions{Tail: to.Ptr(int32(1))})
		if err != nil || *log.Content != "from "+name+"\n" {
			return fmt.Errorf("log of %s: %v %w", name, log.Content, err)
		}
	}
	session, err := factory.NewContainersClient().ExecuteCommand(ctx, "rg", "pair", "two", aci.ContainerExecRequest{Command: to.Ptr("/bin/sh"),
		TerminalSize: &aci.ContainerExecRequestTerminalSize{Rows: to.Ptr(int32(12)), Cols: to.Ptr(int32(34))}}, nil)
	if err != nil {
		return err
	}
	socket, _, err := websocket.Dial(ctx, *session.WebSocketURI, &websocket.DialOptions{HTTPClient: way})
	if err != nil {
		return err
	}
	defer socket.CloseNow()
	for _, text := range []string{*session.Password, "stty size; echo $((6*7)); exit\n"} {
		if err := socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return err
		}
	}
	var shown strings.Builder
	for {
		_, frame, err := socket.Read(ctx)
		if err != nil {
			break
		}
		shown.Write(frame)
	}
	if !strings.Contains(shown.String(), "12 34") || !strings.Contains(shown.String(), "42") {
		return fmt.Errorf("the terminal showed %q", shown.String())
	}
	stop, err := factory.NewContainerGroupsClient().Stop(ctx, "rg", "pair", nil)
	if err != nil {
		return fmt.Errorf("stop: %v %w", stop, err)
	}
	start, err := factory.NewContainerGroupsClient().BeginStart(ctx, "rg", "pair", nil)
	if err != nil {
		return err
	}
	if _, err := start.PollUntilDone(ctx, nil); err != nil {
		return err
	}
	remove, err := factory.NewContainerGroupsClient().BeginDelete(ctx, "rg", "pair", nil)
	if err != nil {
		return err
	}
	if _, err := remove.PollUntilDone(ctx, nil); err != nil {
		return err
	}
	for pages := factory.NewContainerGroupsClient().NewListPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		if len(page.Value) > 0 {
			return fmt.Errorf("%d groups are left", len(page.Value))
		}
	}
	return nil
}
