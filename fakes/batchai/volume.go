package batchai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/fakes/batchai/pool"
)

// mountSettings are the mountVolumes of a cluster or a job (MountVolumes of 2018-05-01).
type mountSettings struct {
	AzureFileShares []struct {
		AccountName       string      `json:"accountName"`
		AzureFileURL      string      `json:"azureFileUrl"`
		Credentials       credentials `json:"credentials"`
		RelativeMountPath string      `json:"relativeMountPath"`
	} `json:"azureFileShares"`
	AzureBlobFileSystems []struct {
		AccountName       string      `json:"accountName"`
		ContainerName     string      `json:"containerName"`
		Credentials       credentials `json:"credentials"`
		RelativeMountPath string      `json:"relativeMountPath"`
	} `json:"azureBlobFileSystems"`
	FileServers []struct {
		FileServer        reference `json:"fileServer"`
		SourceDirectory   string    `json:"sourceDirectory"`
		RelativeMountPath string    `json:"relativeMountPath"`
	} `json:"fileServers"`
	UnmanagedFileSystems []struct {
		MountCommand      string `json:"mountCommand"`
		RelativeMountPath string `json:"relativeMountPath"`
	} `json:"unmanagedFileSystems"`
}

type reference struct {
	ID string `json:"id"`
}

type credentials struct {
	AccountKey                string          `json:"accountKey"`
	AccountKeySecretReference json.RawMessage `json:"accountKeySecretReference"`
}

// source is where a volume's files come from; one of them is set. The pool keeps it.
type source struct {
	Place *Place `json:",omitempty"`
	// Directory of the share, of the file server's disk.
	Directory string `json:",omitempty"`
	// FileServer is the id of the disk.
	FileServer string `json:",omitempty"`
	Command    string `json:",omitempty"`
	// Subscription in which Command finds file servers.
	Subscription string `json:",omitempty"`
}

// volumes turns mountVolumes into the pool's. target is their path in the request.
func (f *Fake) volumes(ctx context.Context, v arm.View, kind, target string, m *mountSettings, subscription string) ([]pool.Volume, error) {
	if m == nil {
		return nil, nil
	}
	var out []pool.Volume
	seen := map[string]bool{}
	add := func(at, where string, s source) error {
		at += ".relativeMountPath"
		clean := path.Clean(where)
		if !filepath.IsLocal(where) || clean == "." || strings.ContainsAny(where, "$`\\\n") {
			return propertyRefused(kind, at, where, "is not a relative path below the mount root.")
		}
		for had := range seen {
			if had == clean || strings.HasPrefix(had, clean+"/") || strings.HasPrefix(clean, had+"/") {
				return propertyRefused(kind, at, where, "is taken by another volume.")
			}
		}
		seen[clean] = true
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		out = append(out, pool.Volume{Path: clean, Source: b})
		return nil
	}
	for i, s := range m.AzureFileShares {
		at := fmt.Sprintf("%s.azureFileShares[%d]", target, i)
		key, err := s.Credentials.key(kind, at)
		if err != nil {
			return nil, err
		}
		share, directory, ok := shareOf(s.AzureFileURL, s.AccountName)
		if !ok {
			return nil, propertyRefused(kind, at+".azureFileUrl", s.AzureFileURL, "is not a URL of an Azure File Share of the account "+s.AccountName+".")
		}
		if err := add(at, s.RelativeMountPath, source{Place: &Place{Account: s.AccountName, Key: key, Name: share}, Directory: directory}); err != nil {
			return nil, err
		}
	}
	for i, s := range m.AzureBlobFileSystems {
		at := fmt.Sprintf("%s.azureBlobFileSystems[%d]", target, i)
		key, err := s.Credentials.key(kind, at)
		if err != nil {
			return nil, err
		}
		if err := add(at, s.RelativeMountPath, source{Place: &Place{Account: s.AccountName, Key: key, Name: s.ContainerName, Blob: true}}); err != nil {
			return nil, err
		}
	}
	for i, s := range m.FileServers {
		at := fmt.Sprintf("%s.fileServers[%d]", target, i)
		server, err := f.fileServer(ctx, v, s.FileServer.ID)
		if err != nil {
			return nil, err
		}
		if s.SourceDirectory != "" && !filepath.IsLocal(strings.TrimLeft(s.SourceDirectory, "/")) {
			return nil, propertyRefused(kind, at+".sourceDirectory", s.SourceDirectory, "leaves the file server's directory.")
		}
		if err := add(at, s.RelativeMountPath, source{FileServer: server.ID, Directory: strings.TrimLeft(s.SourceDirectory, "/")}); err != nil {
			return nil, err
		}
	}
	for i, s := range m.UnmanagedFileSystems {
		at := fmt.Sprintf("%s.unmanagedFileSystems[%d]", target, i)
		if err := add(at, s.RelativeMountPath, source{Command: s.MountCommand, Subscription: subscription}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// key is the account's key; a vault's secret can't be had.
func (c credentials) key(kind, at string) (string, error) {
	if c.AccountKey == "" && len(c.AccountKeySecretReference) > 0 {
		return "", vaultRefused(kind, at+".credentials.accountKeySecretReference")
	}
	if c.AccountKey == "" {
		return "", propertyMissing(kind, at+".credentials.accountKey")
	}
	return c.AccountKey, nil
}

func vaultRefused(kind, at string) *arm.Error {
	return &arm.Error{Status: 400, Code: "KeyVaultSecretNotAccessible", Target: "properties." + at,
		Message: fmt.Sprintf("The secret that property %s.Properties.%s references could not be read from its key vault. Specify the value itself.", kind, pascal(at))}
}

// shareOf takes a share's URL apart: https://ACCOUNT.file.core.windows.net/SHARE[/DIRECTORY].
func shareOf(raw, account string) (share, directory string, ok bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", false
	}
	share, directory, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	ok = share != "" && account != "" && strings.HasPrefix(strings.ToLower(u.Host), strings.ToLower(account)+".file.") && (directory == "" || filepath.IsLocal(directory))
	return share, directory, ok
}

// mount is the pool's way to a volume's files.
func (f *Fake) mount(ctx context.Context, v pool.Volume) (pool.Mounted, error) {
	var s source
	if err := json.Unmarshal(v.Source, &s); err != nil {
		return pool.Mounted{}, err
	}
	if s.Command != "" {
		var err error
		if s, err = f.command(ctx, s); err != nil {
			return pool.Mounted{}, err
		}
	}
	switch {
	case s.FileServer != "":
		return folderIn(f.disk(s.FileServer), s.Directory)
	case f.cfg.Storage == nil:
		return pool.Mounted{}, fmt.Errorf("the storage account %s can't be reached", s.Place.Account)
	case s.Place.Blob:
		m, err := f.cfg.Storage.Container(ctx, s.Place.Account, s.Place.Key, s.Place.Name)
		return m, mountError(ctx, "BFSMountError", "unable to mount blob fuse file system", fmt.Sprintf("Could not mount Azure Blob Container '%s' of %s", s.Place.Name, s.Place.Account), err)
	}
	var m pool.Mounted
	dir, err := f.cfg.Storage.Share(ctx, s.Place.Account, s.Place.Key, s.Place.Name)
	if err == nil {
		m, err = folderIn(dir, s.Directory)
	}
	return m, mountError(ctx, "AZFMountError", "Unable to mount Azure File", fmt.Sprintf("Could not mount Azure File Share //%s.file.core.windows.net/%s", s.Place.Account, path.Join(s.Place.Name, s.Directory)), err)
}

// mountError words what keeps a volume from being mounted as the service did (users'
// reports: azure-cli issue 18679, BatchAI issues 55 and 56); nil stays nil.
func mountError(ctx context.Context, code, message, what string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	why := err.Error()
	var refused *arm.Error
	if errors.As(err, &refused) {
		why = refused.Message
	}
	return pool.Error{Code: code, Message: message, Details: []pool.Detail{{Name: "Info", Value: what + ": " + why}}}
}

// folderIn is a folder below another, which no link may leave.
func folderIn(dir, below string) (pool.Mounted, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return pool.Mounted{}, fmt.Errorf("mount error: No such file or directory")
	}
	defer root.Close()
	if below == "" {
		return pool.Mounted{Dir: dir}, nil
	}
	if s, err := root.Stat(below); err != nil || !s.IsDir() {
		return pool.Mounted{}, fmt.Errorf("mount error(2): %s: No such file or directory", below)
	}
	return pool.Mounted{Dir: filepath.Join(dir, below)}, nil
}

// command understands "mount -t nfs SERVER:/DIRECTORY" and "mount -t cifs
// //ACCOUNT.file.core.windows.net/SHARE -o username=U,password=KEY", where they
// lead to what is emulated. Others are no command that could work here.
func (f *Fake) command(ctx context.Context, s source) (source, error) {
	options := map[string]string{}
	var kind, from string
	words := strings.Fields(s.Command)
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-t" && i+1 < len(words):
			i++
			kind = words[i]
		case w == "-o" && i+1 < len(words):
			i++
			for _, o := range strings.Split(words[i], ",") {
				name, value, _ := strings.Cut(o, "=")
				options[name] = value
			}
		case w == "mount" || w == "sudo" || strings.HasPrefix(w, "-"):
		case from == "":
			from = w
		}
	}
	switch {
	case strings.HasPrefix(kind, "nfs"):
		host, directory, ok := strings.Cut(from, ":")
		if ok {
			if id, point, found := f.serverAt(ctx, s.Subscription, host); found {
				below, inside := strings.CutPrefix(path.Clean(directory), point)
				if inside && (below == "" || below[0] == '/') {
					return source{FileServer: id, Directory: strings.Trim(below, "/")}, nil
				}
			}
		}
		return s, fmt.Errorf("mount.nfs: %s can't be reached: only file servers of Batch AI are emulated", from)
	case kind == "cifs":
		account, _, _ := strings.Cut(strings.TrimPrefix(from, "//"), ".file.")
		if share, directory, ok := shareOf("https:"+from, account); ok {
			return source{Place: &Place{Account: account, Key: options["password"], Name: share}, Directory: directory}, nil
		}
		return s, fmt.Errorf("mount.cifs: %s can't be reached: only Azure File Shares are emulated", from)
	}
	return s, fmt.Errorf("mount: the file system type %q can't be mounted here", kind)
}
