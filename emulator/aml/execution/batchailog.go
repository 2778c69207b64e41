package execution

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"lazulite.dev/emulator/aml/assets"
)

const (
	versionWorkspace = "2018-11-19"
	versionStorage   = "2018-07-01"
	// projectShare is where the workspace's file share is mounted in a job, by the name that it had on Azure.
	projectShare = "azureml_project_share"
	// batchAILog begins the names that a job's own files have among the run's logs.
	batchAILog = "azureml-logs/55_batchai_"
)

// share is the element of azureFileShares that has the workspace's share mounted, where a job's own output goes.
func (b *batchAI) share(ctx context.Context, j Job) (map[string]any, error) {
	ws := j.Workspace
	var workspace struct {
		Properties struct {
			StorageAccount string `json:"storageAccount"`
		} `json:"properties"`
	}
	if err := b.arm.Do(ctx, http.MethodGet, ws.ID(), versionWorkspace, nil, &workspace); err != nil {
		return nil, err
	}
	var list struct {
		Keys []struct {
			Value string `json:"value"`
		} `json:"keys"`
	}
	if err := b.arm.Do(ctx, http.MethodPost, workspace.Properties.StorageAccount+"/listKeys", versionStorage, nil, &list); err != nil {
		return nil, err
	}
	if len(list.Keys) == 0 {
		return nil, connectError(Refused, "The workspace's storage account %s has no keys.", ws.StorageAccount)
	}
	account := path.Base(workspace.Properties.StorageAccount)
	return map[string]any{
		"accountName":       account,
		"azureFileUrl":      "https://" + account + ".file.core.windows.net/" + assets.FileStoreShare(ws),
		"credentials":       map[string]any{"accountKey": list.Keys[0].Value},
		"relativeMountPath": projectShare,
	}, nil
}

// output implements orders: execution logs, and what preparation, mpirun and all
// that is not the control scripts themselves printed. A file without a word is left out.
func (b *batchAI) output(ctx context.Context, id string, put func(string, io.Reader) error) error {
	for next := id + "/listOutputFiles?outputdirectoryid=stdouterr"; next != ""; {
		var list struct {
			Value []struct {
				Name        string `json:"name"`
				DownloadURL string `json:"downloadUrl"`
				Properties  struct {
					ContentLength int64 `json:"contentLength"`
				} `json:"properties"`
			} `json:"value"`
			NextLink string `json:"nextLink"`
		}
		if err := b.arm.Do(ctx, http.MethodPost, next, versionBatchAI, nil, &list); err != nil {
			return err
		}
		for _, file := range list.Value {
			if file.DownloadURL == "" || file.Properties.ContentLength == 0 {
				continue
			}
			name := batchAILog + strings.TrimSuffix(file.Name, path.Ext(file.Name)) + ".txt"
			if err := b.fetch(ctx, file.DownloadURL, func(r io.Reader) error { return put(name, r) }); err != nil {
				return err
			}
		}
		var err error
		if next, err = pathOf(list.NextLink); err != nil {
			return err
		}
	}
	return nil
}

// pathOf is a link's path and query without its api-version, as the resource manager is asked for it.
func pathOf(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || link == "" {
		return "", err
	}
	q := u.Query()
	q.Del("api-version")
	return u.Path + "?" + q.Encode(), nil
}

func (b *batchAI) fetch(ctx context.Context, from string, take func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("execution: a job's file: %w", err)
	}
	resp, err := b.web.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("execution: a job's file: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("execution: a job's file: %s", resp.Status)
	}
	return take(resp.Body)
}
