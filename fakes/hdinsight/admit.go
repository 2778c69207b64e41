package hdinsight

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"lazulite.dev/emulator/arm"
	"lazulite.dev/emulator/sshd"
	"lazulite.dev/fakes/hdinsight/cluster"
)

const (
	typeCluster     = "Microsoft.HDInsight/clusters"
	typeApplication = "Microsoft.HDInsight/clusters/applications"
)

// admitCluster is the last word before a PUT or PATCH of a cluster.
func (f *Fake) admitCluster(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	if f.err != nil {
		return f.err
	}
	if old != nil {
		return f.keep(ctx, v, c, old, next)
	}
	s, n, err := f.describe(ctx, v, next)
	if err != nil {
		return err
	}
	if err := f.checkName(ctx, v, next.ID); err != nil {
		return err
	}
	if err := f.checkQuota(ctx, v, next, s.QuotaInfo.CoresUsed, 0); err != nil {
		return err
	}
	// Last, since it makes the container.
	if err := f.checkStorage(ctx, n.Storage); err != nil {
		return err
	}
	n.ID = f.newID()
	s.ClusterID, s.ClusterState, s.CreatedDate = n.ID, "Accepted", f.cfg.Clock.Now().UTC().Format(stampFormat)
	if err := s.store(next); err != nil {
		return err
	}
	return n.store(next)
}

// keep lets a cluster be written again as it is, with other tags: what else a
// cluster is can't be changed by a PUT. One that failed can only be deleted.
func (f *Fake) keep(ctx context.Context, v arm.View, c arm.Call, old, next *arm.Resource) error {
	was, err := shownOf(old)
	if err != nil {
		return err
	}
	var body struct {
		Properties json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(c.Body, &body); err == nil && len(body.Properties) > 0 && string(body.Properties) != "null" {
		asked, n, err := f.describe(ctx, v, next)
		if err != nil {
			return err
		}
		before, err := notesOf(old)
		if err != nil {
			return err
		}
		if asked.ClusterDefinition.Kind != was.ClusterDefinition.Kind || asked.ClusterVersion != was.ClusterVersion ||
			n.Workers != before.Workers || n.HeadSize != before.HeadSize || n.WorkerSize != before.WorkerSize || n.User != before.User {
			return badRequest("The cluster '%s' exists already and its properties can't be changed. Resize it, or delete it first.", old.ID.Name())
		}
	}
	next.Properties, next.Private = old.Properties, old.Private
	return nil
}

// describe reads a request: what is to be shown, and what is to be kept out of sight.
func (f *Fake) describe(ctx context.Context, v arm.View, next *arm.Resource) (s shown, n notes, err error) {
	var q request
	if err := decode(next.Properties, &q); err != nil {
		return s, n, err
	}
	if err := decode(next.Properties, &s); err != nil {
		return s, n, err
	}
	s = shown{MinSupportedTLSVersion: s.MinSupportedTLSVersion, EncryptionInTransit: s.EncryptionInTransit,
		NetworkProperties: s.NetworkProperties, ComputeIsolationProperties: s.ComputeIsolationProperties}
	if err := refuse(q); err != nil {
		return s, n, err
	}
	if err := f.describeKind(q, next.ID.Subscription(), &s); err != nil {
		return s, n, err
	}
	if err := n.configure(q.ClusterDefinition.Configurations); err != nil {
		return s, n, err
	}
	if err := f.describeRoles(q, &s, &n); err != nil {
		return s, n, err
	}
	if strings.EqualFold(n.User, n.Gateway.Username) {
		return s, n, invalidDocument("properties.computeProfile.roles", "The SSH user name '%s' must be different from the cluster login user name", n.User)
	}
	if err := describeStorage(q, &s, &n); err != nil {
		return s, n, err
	}
	s.OSType, s.Tier = "Linux", "standard"
	if q.Tier != "" {
		s.Tier = q.Tier
	}
	return s, n, nil
}

// refuse says what is not emulated, as the service says it of what it can't do.
func refuse(q request) error {
	switch {
	case q.OSType != "" && !strings.EqualFold(q.OSType, "Linux"):
		return invalidDocument("properties.osType", "The OS type '%s' is not supported. Only Linux clusters can be created", q.OSType)
	case q.Tier != "" && !strings.EqualFold(q.Tier, "standard"):
		return invalidDocument("properties.tier", "The tier '%s' is not available for this subscription", q.Tier)
	case q.SecurityProfile != nil && q.SecurityProfile.DirectoryType != "":
		return invalidDocument("properties.securityProfile", "Enterprise Security Package is not available for this subscription")
	case q.DiskEncryption != nil && q.DiskEncryption.VaultURI != "":
		return invalidDocument("properties.diskEncryptionProperties", "Disk encryption with customer managed keys is not available for this subscription")
	case len(q.KafkaRest) > 0 && string(q.KafkaRest) != "null":
		return invalidDocument("properties.kafkaRestProperties", "The Kafka REST proxy is not available for this subscription")
	case len(q.PrivateLink) > 0:
		return invalidDocument("properties.privateLinkConfigurations", "Private link is not available for this subscription")
	case q.ClusterDefinition == nil || q.ClusterDefinition.Kind == "":
		return invalidDocument("properties.clusterDefinition.kind", "The cluster definition is null or has no kind")
	case q.ComputeProfile == nil || len(q.ComputeProfile.Roles) == 0:
		return invalidDocument("properties.computeProfile.roles", "The compute profile is null or has no roles")
	}
	return nil
}

func (f *Fake) describeKind(q request, subscription string, s *shown) error {
	ver, ok := f.catalogue.find(q.ClusterVersion)
	if !ok {
		return noVersion(q.ClusterVersion, subscription)
	}
	kind := strings.ToLower(q.ClusterDefinition.Kind)
	components, ok := ver.Kinds[kind]
	if !ok {
		return invalidDocument("properties.clusterDefinition.kind", "Cluster type '%s' is not supported for version '%s'. Supported types are: %s",
			q.ClusterDefinition.Kind, ver.Name, strings.Join(f.catalogue.kinds(), ", "))
	}
	s.ClusterVersion, s.ClusterHDPVersion = ver.Full, ver.Platform
	s.ClusterDefinition = shownKind{Blueprint: "https://blueprints.azurehdinsight.net/" + kind + "-" + ver.Full + "." + ver.Stamp + ".json",
		Kind: q.ClusterDefinition.Kind, ComponentVersion: map[string]string{kind: components[0]}}
	for name, asked := range q.ClusterDefinition.ComponentVersion {
		if asked == "" || !strings.EqualFold(name, kind) {
			continue
		}
		known := false
		for _, had := range components {
			known = known || had == asked
		}
		if !known {
			return invalidDocument("properties.clusterDefinition.componentVersion", "Component version '%s' of '%s' is not supported for cluster version '%s'. Supported versions are: %s",
				asked, name, ver.Name, strings.Join(components, ", "))
		}
		s.ClusterDefinition.ComponentVersion = map[string]string{name: asked}
	}
	return nil
}

// How many letters a cluster's name may have.
const maxName = 59

func clusterName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]$`) }

// checkName holds a name against the rule, and against the names of all clusters: it is a host name.
func (f *Fake) checkName(ctx context.Context, v arm.View, id arm.ID) error {
	if err := ruleName(id.Name()); err != nil {
		return err
	}
	taken, err := f.nameTaken(ctx, v, id.Name())
	if err != nil || !taken {
		return err
	}
	return nameTaken(id.Name())
}

func ruleName(name string) error {
	if len(name) < 3 || len(name) > maxName || !clusterName().MatchString(name) {
		return invalidDocument("name", "Cluster name '%s' is invalid. It must be 3 to %d characters long, contain letters, numbers and hyphens only, and start and end with a letter or number", name, maxName)
	}
	return nil
}

func (f *Fake) nameTaken(ctx context.Context, v arm.View, name string) (bool, error) {
	all, err := v.List(ctx, arm.ID{}, typeCluster)
	for _, r := range all {
		if strings.EqualFold(r.ID.Name(), name) {
			return true, err
		}
	}
	return false, err
}

// checkQuota refuses cores that the subscription does not have in the region.
func (f *Fake) checkQuota(ctx context.Context, v arm.View, r *arm.Resource, required, has int) error {
	used, err := f.coresUsed(ctx, v, r.ID.Subscription(), r.Location)
	if err != nil {
		return err
	}
	if available := f.cfg.Cores - used; required-has > available {
		return overQuota(r.ID.Subscription(), r.ID.Name(), required-has, available)
	}
	return nil
}

func (f *Fake) coresUsed(ctx context.Context, v arm.View, subscription, location string) (int, error) {
	sub, err := arm.ParseID("/subscriptions/" + subscription)
	if err != nil {
		return 0, err
	}
	all, err := v.List(ctx, sub, typeCluster)
	if err != nil {
		return 0, err
	}
	used := 0
	for _, r := range all {
		if location != "" && arm.DisplayName(r.Location) != arm.DisplayName(location) {
			continue
		}
		s, err := shownOf(r)
		if err != nil {
			return 0, err
		}
		used += s.QuotaInfo.CoresUsed
	}
	return used, nil
}

func (f *Fake) checkStorage(ctx context.Context, all []cluster.Storage) error {
	if f.cfg.Storage == nil {
		return nil
	}
	for _, s := range all {
		if err := f.cfg.Storage(ctx, s.Account, s.Key, s.Container); err != nil {
			return err
		}
	}
	return nil
}

// configure reads clusterDefinition.configurations: the gateway's login, and sites.
func (n *notes) configure(data json.RawMessage) error {
	var sites map[string]map[string]any
	if len(data) > 0 && string(data) != "null" {
		if err := json.Unmarshal(data, &sites); err != nil {
			return invalidDocument("properties.clusterDefinition.configurations", "The configurations are not a map of maps")
		}
	}
	n.Sites = map[string]map[string]string{}
	for name, values := range sites {
		plain := map[string]string{}
		for k, v := range values {
			switch t := v.(type) {
			case nil:
			case string:
				plain[k] = t
			default:
				text, err := json.Marshal(t)
				if err != nil {
					return err
				}
				plain[k] = string(text)
			}
		}
		if strings.EqualFold(name, "gateway") {
			login, err := readGateway(plain)
			if err != nil {
				return err
			}
			n.Gateway = login
			continue
		}
		n.Sites[name] = plain
	}
	if !n.Gateway.Enabled {
		return invalidDocument("properties.clusterDefinition.configurations.gateway", "The configurations have no gateway with an enabled restAuthCredential")
	}
	return nil
}

// describeRoles reads the nodes that are wanted, and who logs in to them.
func (f *Fake) describeRoles(q request, s *shown, n *notes) error {
	names := map[string]bool{}
	for i, r := range q.ComputeProfile.Roles {
		name := strings.ToLower(r.Name)
		at := "properties.computeProfile.roles." + name
		if names[name] {
			return invalidDocument(at, "The role '%s' is there more than once", r.Name)
		}
		names[name] = true
		size, ok := f.catalogue.size(r.HardwareProfile.VMSize)
		switch {
		case name != "headnode" && name != "workernode" && name != "zookeepernode" && name != "edgenode" && name != "idbrokernode":
			return invalidDocument(at, "The role '%s' is not known", r.Name)
		case !ok:
			return invalidDocument(at+".hardwareProfile.vmSize", "VM size '%s' provided in the CSM document is invalid or not supported for role '%s'", r.HardwareProfile.VMSize, r.Name)
		case r.TargetInstanceCount < 1:
			return invalidDocument(at+".targetInstanceCount", "The target instance count %d of role '%s' must be at least 1", r.TargetInstanceCount, r.Name)
		case len(r.Autoscale) > 0 && string(r.Autoscale) != "null":
			return invalidDocument(at+".autoscale", "Autoscale is not available for this subscription")
		}
		shownRole := role{Name: r.Name, MinInstanceCount: r.MinInstanceCount, TargetInstanceCount: r.TargetInstanceCount, HardwareProfile: hardwareProfile{r.HardwareProfile.VMSize}}
		if string(r.VirtualNetworkProfile) != "null" {
			shownRole.VirtualNetworkProfile = r.VirtualNetworkProfile
		}
		for _, d := range r.DataDisksGroups {
			shownRole.DataDisksGroups = append(shownRole.DataDisksGroups, dataDisks{d.DisksPerNode, "Standard_LRS", 1023})
		}
		switch name {
		case "headnode":
			if r.TargetInstanceCount > 2 {
				return invalidDocument(at+".targetInstanceCount", "The target instance count %d of role '%s' must be at most 2", r.TargetInstanceCount, r.Name)
			}
			n.HeadSize = size.Name
			s.QuotaInfo.CoresUsed += size.Cores * r.TargetInstanceCount
		case "workernode":
			n.WorkerSize, n.Workers = size.Name, r.TargetInstanceCount
			s.QuotaInfo.CoresUsed += size.Cores * r.TargetInstanceCount
		}
		if name != "zookeepernode" || n.User == "" {
			if err := n.readLogin(q.ComputeProfile.Roles[i], at); err != nil {
				return err
			}
		}
		for _, a := range r.ScriptActions {
			n.Script = append(n.Script, scriptAction{Name: a.Name, URI: a.URI, Parameters: a.Parameters, Roles: []string{name}})
		}
		s.ComputeProfile.Roles = append(s.ComputeProfile.Roles, shownRole)
	}
	for _, needed := range []string{"headnode", "workernode"} {
		if !names[needed] {
			return invalidDocument("properties.computeProfile.roles", "The compute profile has no role '%s'", needed)
		}
	}
	for i := range s.ComputeProfile.Roles {
		s.ComputeProfile.Roles[i].OSProfile = &osProfile{linuxProfile{n.User}}
	}
	return nil
}

// readLogin takes a role's user; all roles have the same.
func (n *notes) readLogin(r roleRequest, at string) error {
	at += ".osProfile.linuxOperatingSystemProfile"
	if r.OSProfile == nil || r.OSProfile.Linux == nil {
		return invalidDocument(at, "The role '%s' has no linuxOperatingSystemProfile", r.Name)
	}
	l := r.OSProfile.Linux
	if err := checkSSHUser(l.Username, at); err != nil {
		return err
	}
	if n.User != "" {
		if n.User != l.Username {
			return invalidDocument(at+".username", "The user names '%s' and '%s' of the roles must be the same", n.User, l.Username)
		}
		return nil
	}
	n.User = l.Username
	if l.SSHProfile != nil {
		for _, k := range l.SSHProfile.PublicKeys {
			key := strings.TrimSpace(k.CertificateData)
			if err := sshd.CheckKey(key); err != nil {
				return invalidDocument(at+".sshProfile.publicKeys", "The SSH public key is invalid: it must be in OpenSSH's format")
			}
			n.Keys = append(n.Keys, key)
		}
	}
	if l.Password == "" && len(n.Keys) == 0 {
		return invalidDocument(at, "Either a password or an SSH public key must be given for the user '%s'", l.Username)
	}
	if l.Password == "" {
		return nil
	}
	if err := checkPassword("SSH password", l.Password, 6, 72, at+".password"); err != nil {
		return err
	}
	var err error
	n.PasswordHash, err = sshd.HashPassword(l.Password)
	return err
}

// describeStorage finds the accounts, in the profile or, as templates of 2015 have them, in core-site.
func describeStorage(q request, s *shown, n *notes) error {
	const at = "properties.storageProfile.storageaccounts"
	defaults := 0
	if q.StorageProfile != nil {
		for _, a := range q.StorageProfile.StorageAccounts {
			switch {
			case a.FileSystem != "" || strings.Contains(a.Name, ".dfs."):
				return invalidDocument(at+".fileSystem", "Azure Data Lake Storage is not available for this subscription")
			case a.FileShare != "" || a.SASKey != "" || a.MSI != "" && a.Key == "":
				return invalidDocument(at, "The storage account '%s' must be given with its key", a.Name)
			case !strings.Contains(a.Name, ".blob."):
				return invalidDocument(at+".name", "The storage account name '%s' must be a blob endpoint, ACCOUNT.blob.core.windows.net", a.Name)
			case a.Key == "":
				return invalidDocument(at+".key", "The key of the storage account '%s' is missing", a.Name)
			case a.IsDefault && a.Container == "":
				return invalidDocument(at+".container", "The default storage account '%s' has no container", a.Name)
			}
			entry := storageShown{Name: a.Name, Container: a.Container, IsDefault: a.IsDefault}
			if a.ResourceID != "" {
				entry.ResourceID = &a.ResourceID
			}
			s.StorageProfile.StorageAccounts = append(s.StorageProfile.StorageAccounts, entry)
			kept := cluster.Storage{Account: strings.ToLower(a.Name), Container: a.Container, Key: a.Key}
			if a.IsDefault {
				defaults++
				n.Storage = append([]cluster.Storage{kept}, n.Storage...)
			} else {
				n.Storage = append(n.Storage, kept)
			}
		}
	}
	if core := n.Sites["core-site"]; defaults == 0 && core["fs.defaultFS"] != "" {
		rest, ok := strings.CutPrefix(strings.Replace(core["fs.defaultFS"], "wasbs://", "wasb://", 1), "wasb://")
		container, account, both := strings.Cut(strings.TrimSuffix(rest, "/"), "@")
		key := core["fs.azure.account.key."+account]
		if !ok || !both || key == "" {
			return invalidDocument("properties.clusterDefinition.configurations.core-site", "The file system '%s' must be wasb://CONTAINER@ACCOUNT with the account's key", core["fs.defaultFS"])
		}
		n.Storage = append([]cluster.Storage{{Account: strings.ToLower(account), Container: container, Key: key}}, n.Storage...)
		s.StorageProfile.StorageAccounts = append(s.StorageProfile.StorageAccounts, storageShown{Name: account, Container: container, IsDefault: true})
		defaults++
	}
	delete(n.Sites, "core-site")
	if defaults != 1 {
		return invalidDocument(at, "The cluster must have one default storage account, and has %d", defaults)
	}
	return nil
}
