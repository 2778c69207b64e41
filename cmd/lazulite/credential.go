package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// defaultCredential gets tokens as Azure's own tools do: from the environment,
// a workload identity, a managed identity, or the login of az.
func defaultCredential(tenant string) (func(ctx context.Context, audience string) (string, error), error) {
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{TenantID: tenant})
	if err != nil {
		return nil, fmt.Errorf("azidentity's default credential: %w", err)
	}
	return func(ctx context.Context, audience string) (string, error) {
		// The credential keeps tokens and renews them. A v1 audience ends in a slash, which its v2 scope keeps.
		token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{audience + "/.default"}})
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(token.Token), nil
	}, nil
}
