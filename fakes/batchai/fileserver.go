package batchai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/hardware"
	"lazulite.dev/fakes/batchai/pool"
)

// serverFamily stands for a family in the pool's accounts of file servers.
const serverFamily = "fileServers"

// dataVolume is where a file server's disk is below its mount root, mountPoint where Batch AI's were.
const (
	dataVolume = "data"
	mountPoint = "/mnt/data"
)

// serverProperties are those of a file server that mean something here (FileServerProperties of 2018-05-01).
type serverProperties struct {
	VMSize           string `json:"vmSize"`
	SSHConfiguration struct {
		UserAccountSettings accountSettings `json:"userAccountSettings"`
	} `json:"sshConfiguration"`
	DataDisks struct {
		DiskSizeInGB       int    `json:"diskSizeInGB"`
		CachingType        string `json:"cachingType"`
		DiskCount          int    `json:"diskCount"`
		StorageAccountType string `json:"storageAccountType"`
	} `json:"dataDisks"`
	Subnet *reference `json:"subnet"`
}

// serverPrivate is kept of a file server out of sight.
type serverPrivate struct {
	ID          string // in the pool, and its disk's
	Location    string
	InternalIP  string
	Provisioned string // provisioningStateTransitionTime
	Machine     pool.Cluster
}

func serverNotes(r *arm.Resource) (p serverPrivate, err error) {
	if len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &p)
	}
	return p, err
}

// diskFolder has the disks of all file servers.
func (f *Fake) diskFolder() string { return filepath.Join(f.cfg.Dir, "disks") }

func (f *Fake) disk(id string) string { return filepath.Join(f.diskFolder(), id) }

func (f *Fake) admitFileServer(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	properties, err := decode(next.Properties)
	if err != nil {
		return err
	}
	f.fit(kindFileServer, c.Version, properties)
	var w serverProperties
	if err := convert(properties, &w); err != nil {
		return err
	}
	if old != nil {
		return f.keep(kindFileServer, c.Version, old, next, properties)
	}
	location, err := f.location(ctx, v, next)
	if err != nil {
		return err
	}
	size, ok := hardware.Size(w.VMSize)
	if !ok || !size.SoldIn(location) {
		return propertyRefused(kindFileServer, "vmSize", w.VMSize, "is not a supported VM size.")
	}
	account := w.SSHConfiguration.UserAccountSettings
	user, err := account.login(kindFileServer, "sshConfiguration.userAccountSettings")
	if err != nil {
		return err
	}
	disks := w.DataDisks
	switch {
	case disks.DiskCount > size.MaxDataDisks:
		return propertyRefused(kindFileServer, "dataDisks.diskCount", disks.DiskCount, fmt.Sprintf("is more than the %d data disks that a %s can have.", size.MaxDataDisks, w.VMSize))
	case disks.DiskSizeInGB > 4095:
		return propertyRefused(kindFileServer, "dataDisks.diskSizeInGB", disks.DiskSizeInGB, "is more than the 4095 GB that a disk can have.")
	case !size.Premium() && disks.StorageAccountType == "Premium_LRS":
		return propertyRefused(kindFileServer, "dataDisks.storageAccountType", disks.StorageAccountType, fmt.Sprintf("can't be used with the VM size %s.", w.VMSize))
	case !size.Premium() && disks.CachingType != "none":
		return propertyRefused(kindFileServer, "dataDisks.cachingType", disks.CachingType, fmt.Sprintf("can't be used with the VM size %s.", w.VMSize))
	}
	p := serverPrivate{ID: f.newID(), Location: location, InternalIP: fmt.Sprintf("10.0.0.%d", 4+f.draw(250))}
	disk, err := json.Marshal(source{FileServer: p.ID})
	if err != nil {
		return err
	}
	p.Machine = pool.Cluster{ID: p.ID, Account: accountOf(next.ID.Subscription(), location, serverFamily), Size: size.Name,
		Scale: pool.Scale{Manual: &pool.Manual{Target: 1}}, Image: ubuntu, User: user.name, PasswordHash: user.hash, PublicKey: user.key,
		Volumes: []pool.Volume{{Path: dataVolume, Source: disk}}}
	conceal(properties)
	return errors.Join(encode(properties, &next.Properties), encode(p, &next.Private))
}

type serverReconciler struct{ *Fake }

// Reconcile implements arm.Reconciler: a file server is there when its machine takes logins.
func (f serverReconciler) Reconcile(_ context.Context, v arm.View, r *arm.Resource) (arm.Result, error) {
	if f.err != nil {
		return arm.Result{}, f.err
	}
	p, err := serverNotes(r)
	if err != nil {
		return arm.Result{}, err
	}
	f.follow(v, p.ID, r.ID)
	if r.Deleting {
		gone, err := f.remove(p.ID)
		if err != nil || !gone {
			return arm.Result{RequeueAfter: pause}, err
		}
		return arm.Result{Done: true}, os.RemoveAll(f.disk(p.ID))
	}
	if err := os.MkdirAll(f.disk(p.ID), 0o700); err != nil {
		return arm.Result{}, err
	}
	// Beyond what the process's umask allows: it is everybody's, as the export of a file server was.
	if err := os.Chmod(f.disk(p.ID), 0o777); err != nil {
		return arm.Result{}, err
	}
	if f.cfg.Engine.Name() == "docker" {
		// A machine of its own has the disk where Batch AI's file servers had it.
		p.Machine.Setup = &pool.Setup{CommandLine: `ln -sfn "$AZ_BATCHAI_MOUNT_ROOT/` + dataVolume + `" ` + mountPoint}
	}
	if err := f.pool.Create(p.Machine); err != nil && !errors.Is(err, pool.ErrExists) {
		return arm.Result{}, fmt.Errorf("batchai: %w", err)
	}
	s, ok := f.pool.Cluster(p.ID)
	if ok && s.Counts.Idle == 1 {
		p.Provisioned = stamp(f.cfg.Clock.Now())
		return arm.Result{Done: true}, encode(p, &r.Private)
	}
	if ok && (s.Counts.Unusable > 0 || len(s.Errors) > 0) {
		p.Provisioned = stamp(f.cfg.Clock.Now())
		why := pool.Error{Code: "FileServerCreationFailed", Message: "The file server could not be started."}
		if len(s.Errors) > 0 {
			why = s.Errors[0]
		}
		return arm.Result{}, errors.Join(encode(p, &r.Private), &arm.Error{Status: http.StatusConflict, Code: why.Code, Message: why.Message})
	}
	return arm.Result{RequeueAfter: pause}, nil
}

func (f *Fake) renderFileServer(c arm.Call, r *arm.Resource) (any, error) {
	p, err := serverNotes(r)
	if err != nil {
		return nil, err
	}
	properties, err := timed(r, p.Provisioned)
	if err != nil {
		return nil, err
	}
	if s, ok := f.pool.Cluster(p.ID); ok && len(s.Nodes) > 0 && s.Nodes[0].Address != "" {
		properties["mountSettings"] = map[string]any{"mountPoint": f.mountPoint(p.ID), "fileServerPublicIP": s.Nodes[0].Address, "fileServerInternalIP": p.InternalIP, "fileServerType": "nfs"}
		if s.Nodes[0].Port != 22 {
			// Not of Azure: there all file servers listened at 22.
			properties["mountSettings"].(map[string]any)["lazuliteSSHPort"] = s.Nodes[0].Port
		}
	}
	return f.envelope(kindFileServer, c, r, properties)
}

// mountPoint is where a file server has its disk: where all of Batch AI's did if it is
// a machine of its own, else, as processes of this host, where the host has it.
func (f *Fake) mountPoint(id string) string {
	if f.cfg.Engine.Name() == "process" {
		return f.disk(id)
	}
	return mountPoint
}

// fileServer finds one by its resource id.
func (f *Fake) fileServer(ctx context.Context, v arm.View, id string) (serverPrivate, error) {
	at, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(at.Type(), typeFileServer) && !strings.EqualFold(at.Type(), typeOldFileServer) {
		return serverPrivate{}, &arm.Error{Status: http.StatusBadRequest, Code: "InvalidResourceId", Message: fmt.Sprintf("The resource id %s is not the id of a file server", id)}
	}
	r, err := v.Get(ctx, at)
	if err != nil {
		return serverPrivate{}, err
	}
	return serverNotes(r)
}

// serverAt finds a file server by one of its addresses, and where its disk is mounted.
func (f *Fake) serverAt(ctx context.Context, subscription, host string) (id, point string, found bool) {
	f.mu.Lock()
	v := f.view
	f.mu.Unlock()
	sub, err := arm.ParseID("/subscriptions/" + subscription)
	if err != nil || v == nil {
		return "", "", false
	}
	for _, t := range []string{typeFileServer, typeOldFileServer} {
		all, err := v.List(ctx, sub, t)
		if err != nil {
			return "", "", false
		}
		for _, r := range all {
			p, err := serverNotes(r)
			if err != nil {
				continue
			}
			s, ok := f.pool.Cluster(p.ID)
			if p.InternalIP == host || ok && len(s.Nodes) > 0 && s.Nodes[0].Address == host {
				return p.ID, f.mountPoint(p.ID), true
			}
		}
	}
	return "", "", false
}
