package assets

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazulite.dev/emulator/aml/plane"
	"lazulite.dev/emulator/store"
)

// Types of datastore, as the SDK of 2018 knows them.
const (
	typeBlob  = "AzureBlob"
	typeShare = "AzureFile"
	typeLake  = "AzureDataLake"
)

// Kinds of credential of an Azure storage datastore.
const (
	credNone = "None"
	credSAS  = "Sas"
	credKey  = "AccountKey"
)

// datastore is the record of one datastore.
type datastore struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Storage *storageSection `json:"storage,omitempty"`
	Lake    *lakeSection    `json:"lake,omitempty"`
	// Own marks the workspace's own storage account: its key is asked for when
	// it is wanted, so that it is the current one.
	Own bool `json:"own,omitempty"`
}

// storageSection is AzureStorage of datastore.json, 2019-08-01.
type storageSection struct {
	AccountName    string  `json:"accountName"`
	ContainerName  string  `json:"containerName"`
	Endpoint       string  `json:"endpoint"`
	Protocol       string  `json:"protocol"`
	CredentialType string  `json:"credentialType"`
	Credential     *string `json:"credential"`
	IsSas          bool    `json:"isSas"`
	AccountKey     *string `json:"accountKey"`
	SasToken       *string `json:"sasToken"`
}

// lakeSection is AzureDataLake of datastore.json, 2019-08-01.
type lakeSection struct {
	StoreName      string  `json:"storeName"`
	AuthorityURL   *string `json:"authorityUrl"`
	ResourceURI    *string `json:"resourceUri"`
	TenantID       string  `json:"tenantId"`
	ClientID       string  `json:"clientId"`
	IsCertAuth     bool    `json:"isCertAuth"`
	Certificate    *string `json:"certificate"`
	Thumbprint     *string `json:"thumbprint"`
	ClientSecret   *string `json:"clientSecret"`
	SubscriptionID *string `json:"subscriptionId"`
	ResourceGroup  *string `json:"resourceGroup"`
}

// datastoreDto is DataStore of datastore.json, 2019-08-01.
type datastoreDto struct {
	Name    string          `json:"name"`
	Type    string          `json:"dataStoreType"`
	Storage *storageSection `json:"azureStorageSection"`
	Lake    *lakeSection    `json:"azureDataLakeSection"`
}

// defaultStore is the record that names the default datastore.
type defaultStore struct {
	Name string `json:"name"`
}

func (s *Service) registerDatastores(m *plane.Mux) {
	const base = "datastore/v1.0/{WS}"
	m.Handle(http.MethodGet, base+"/datastores", s.listDatastores)
	m.Handle(http.MethodPost, base+"/datastores", s.createDatastore)
	m.Handle(http.MethodDelete, base+"/datastores", s.deleteDatastores)
	m.Handle(http.MethodGet, base+"/datastores/{name}", s.getDatastore)
	m.Handle(http.MethodPut, base+"/datastores/{name}", s.updateDatastore)
	m.Handle(http.MethodDelete, base+"/datastores/{name}", s.deleteDatastore)
	m.Handle(http.MethodGet, base+"/default", s.getDefault)
	m.Handle(http.MethodPut, base+"/default/{name}", s.setDefault)
}

func blobStoreContainer(ws plane.Workspace) string {
	return "azureml-blobstore-" + strings.ToLower(ws.GUID)
}

// FileStoreShare is the file share that every workspace has in its storage account.
func FileStoreShare(ws plane.Workspace) string {
	return "azureml-filestore-" + strings.ToLower(ws.GUID)
}

// datastoreKey folds the name: datastores are found in any case.
func datastoreKey(ws plane.Workspace, name string) string {
	return key(ws, "datastore", strings.ToLower(name))
}

func defaultKey(ws plane.Workspace) string { return key(ws, "defaultdatastore") }

func (s *Service) provisionDatastores(ctx context.Context, ws plane.Workspace) error {
	own := func(name, kind, container string) datastore {
		return datastore{Name: name, Type: kind, Own: true, Storage: &storageSection{
			AccountName: ws.StorageAccount, ContainerName: container,
			Endpoint: "core.windows.net", Protocol: "https", CredentialType: credKey}}
	}
	records := map[string]any{
		datastoreKey(ws, "workspaceblobstore"): own("workspaceblobstore", typeBlob, blobStoreContainer(ws)),
		datastoreKey(ws, "workspacefilestore"): own("workspacefilestore", typeShare, FileStoreShare(ws)),
		defaultKey(ws):                         defaultStore{"workspaceblobstore"},
		key(ws, "provisioned"):                 struct{}{},
	}
	// Once: a datastore that its user unregistered must not come back.
	if _, err := s.cfg.Store.Get(ctx, key(ws, "provisioned")); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var ops []store.Op
	for k, v := range records {
		op, err := store.PutOp(k, v, store.Absent)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	if _, err := s.cfg.Store.Batch(ctx, ops); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}

// wire is the datastore as the service answers it. The SDK can't reach a
// datastore but by the credential in the answer; a list has it if it is asked for.
func (s *Service) wire(ctx context.Context, d datastore, secrets bool) (datastoreDto, error) {
	out := datastoreDto{Name: d.Name, Type: d.Type}
	if d.Storage != nil {
		sec := *d.Storage
		sec.Credential, sec.AccountKey, sec.SasToken = nil, nil, nil
		sec.IsSas = sec.CredentialType == credSAS
		if secrets {
			cred, err := s.credential(ctx, d)
			if err != nil {
				return out, err
			}
			switch sec.CredentialType {
			case credKey:
				sec.AccountKey = &cred
			case credSAS:
				sec.SasToken = &cred
			}
		}
		out.Storage = &sec
	}
	if d.Lake != nil {
		sec := *d.Lake
		if !secrets {
			sec.ClientSecret, sec.Certificate = nil, nil
		}
		out.Lake = &sec
	}
	return out, nil
}

// credential is the datastore's account key or SAS token; empty if it has none.
func (s *Service) credential(ctx context.Context, d datastore) (string, error) {
	if d.Own {
		keys, err := s.blobs.Keys(ctx, d.Storage.AccountName)
		if errors.Is(err, store.ErrNotFound) {
			return "", plane.NotFound("The storage account '%s' of datastore '%s' was not found.", d.Storage.AccountName, d.Name)
		}
		return keys[0], err
	}
	if d.Storage.Credential == nil {
		return "", nil
	}
	return *d.Storage.Credential, nil
}

func (s *Service) datastore(ctx context.Context, ws plane.Workspace, name string) (datastore, error) {
	d, _, err := store.Read[datastore](ctx, s.cfg.Store, datastoreKey(ws, name))
	return d, missingDatastore(name, err)
}

func missingDatastore(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The datastore '%s' was not found.", name)
	}
	return err
}

func (s *Service) listDatastores(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	q := r.URL.Query()
	count := 0
	if v := q.Get("count"); v != "" {
		var err error
		if count, err = strconv.Atoi(v); err != nil || count < 1 {
			return plane.BadRequest("count", "The value '%s' of 'count' is not a positive number.", v)
		}
	}
	// SDK 1.x asks lists for what 0.1.68 asked single datastores for.
	secrets, err := boolQuery(r, "includeSecret")
	if err != nil {
		return err
	}
	var wanted []string
	for _, v := range q["dataStoreNames"] {
		wanted = append(wanted, strings.Split(strings.ToLower(v), ",")...)
	}
	scope := key(c.Workspace, "datastore", "")
	after := ""
	if t := q.Get("continuationToken"); t != "" {
		after = scope + strings.ToLower(t)
	}
	docs, err := s.cfg.Store.List(r.Context(), scope, after, 0)
	if err != nil {
		return err
	}
	out := page[datastoreDto]{Value: []datastoreDto{}}
	for _, doc := range docs {
		name := strings.TrimPrefix(doc.Key, scope)
		if len(wanted) > 0 && !slices.Contains(wanted, name) {
			continue
		}
		if count > 0 && len(out.Value) == count {
			last := strings.ToLower(out.Value[count-1].Name)
			out.ContinuationToken = &last
			break
		}
		d, err := store.Decode[datastore](doc)
		if err != nil {
			return err
		}
		dto, err := s.wire(r.Context(), d, secrets)
		if err != nil {
			return err
		}
		out.Value = append(out.Value, dto)
	}
	out.Count = len(out.Value)
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) createDatastore(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	d, err := s.readDatastore(w, r, "")
	if err != nil {
		return err
	}
	create, err := boolQuery(r, "createIfNotExists")
	if err != nil {
		return err
	}
	k := datastoreKey(c.Workspace, d.Name)
	duplicate := plane.BadRequest("name", "Another datastore with the same name already exists in the workspace: '%s'.", d.Name)
	// Before the container is made, so that a refusal changes nothing.
	if _, err := s.cfg.Store.Get(r.Context(), k); err == nil {
		return duplicate
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := s.checkContainer(r.Context(), d, create); err != nil {
		return err
	}
	// The SDK takes a 400 alone for "exists" and goes on to update where its user said overwrite.
	if _, err := store.Write(r.Context(), s.cfg.Store, k, d, store.Absent); errors.Is(err, store.ErrConflict) {
		return duplicate
	} else if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (s *Service) getDatastore(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	return s.writeDatastore(w, r, c, c.Vars["name"])
}

func (s *Service) writeDatastore(w http.ResponseWriter, r *http.Request, c *plane.Call, name string) error {
	d, err := s.datastore(r.Context(), c.Workspace, name)
	if err != nil {
		return err
	}
	out, err := s.wire(r.Context(), d, true)
	if err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (s *Service) updateDatastore(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	name := c.Vars["name"]
	d, err := s.readDatastore(w, r, name)
	if err != nil {
		return err
	}
	create, err := boolQuery(r, "createIfNotExists")
	if err != nil {
		return err
	}
	// The SDK comes here after any refusal of a creation: its user is told the
	// fault of the datastore before that there is none.
	_, unknown := s.datastore(r.Context(), c.Workspace, name)
	if unknown == nil || !create {
		if err := s.checkContainer(r.Context(), d, create); err != nil {
			return err
		}
	}
	if unknown != nil {
		return unknown
	}
	_, _, err = store.Update(r.Context(), s.cfg.Store, datastoreKey(c.Workspace, name), func(v *datastore, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		d.Name = v.Name
		*v = d
		return nil
	})
	if err != nil {
		return missingDatastore(name, err)
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (s *Service) deleteDatastore(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	if err := s.cfg.Store.Delete(r.Context(), datastoreKey(c.Workspace, c.Vars["name"]), store.Any); err != nil {
		return missingDatastore(c.Vars["name"], err)
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (s *Service) deleteDatastores(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	docs, err := s.cfg.Store.List(r.Context(), key(c.Workspace, "datastore", ""), "", 0)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := s.cfg.Store.Delete(r.Context(), d.Key, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (s *Service) getDefault(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	d, _, err := store.Read[defaultStore](r.Context(), s.cfg.Store, defaultKey(c.Workspace))
	if errors.Is(err, store.ErrNotFound) {
		return plane.NotFound("The workspace '%s' has no default datastore.", c.Workspace.Workspace)
	}
	if err != nil {
		return err
	}
	return s.writeDatastore(w, r, c, d.Name)
}

func (s *Service) setDefault(w http.ResponseWriter, r *http.Request, c *plane.Call) error {
	d, err := s.datastore(r.Context(), c.Workspace, c.Vars["name"])
	if err != nil {
		return err
	}
	if _, err := store.Write(r.Context(), s.cfg.Store, defaultKey(c.Workspace), defaultStore{d.Name}, store.Any); err != nil {
		return err
	}
	plane.WriteJSON(w, http.StatusOK, nil)
	return nil
}

var datastoreName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`) })

// Datastore as a control script needs it.
type Datastore struct {
	Name, Type, AccountName, ContainerName, Endpoint, Protocol string
	// ContainerURL with a SAS for read, write and list, for a datastore in this emulator's storage or with a stored credential.
	// Empty for AzureDataLake, which has no SAS, and for AzureFile: a share is no blob container.
	ContainerURL string
}

// Datastore returns a datastore with an access URL good until expiry; a *plane.Error 404 if there is none of that name.
func (s *Service) Datastore(ctx context.Context, ws plane.Workspace, name string, expiry time.Time) (Datastore, error) {
	d, err := s.datastore(ctx, ws, name)
	if err != nil {
		return Datastore{}, err
	}
	out := Datastore{Name: d.Name, Type: d.Type}
	if d.Storage == nil {
		return out, nil
	}
	sec := d.Storage
	out.AccountName, out.ContainerName, out.Endpoint, out.Protocol = sec.AccountName, sec.ContainerName, sec.Endpoint, sec.Protocol
	if d.Type == typeBlob {
		out.ContainerURL, err = s.containerURL(ctx, d, expiry)
	}
	return out, err
}
