package hdinsight

import (
	"encoding/json"
	"errors"
	"strings"

	"lazulite.dev/emulator/arm"
)

// request is ClusterCreateProperties (2021-06-01), of which older versions have a part.
type request struct {
	ClusterVersion    string             `json:"clusterVersion"`
	OSType            string             `json:"osType"`
	Tier              string             `json:"tier"`
	ClusterDefinition *clusterDefinition `json:"clusterDefinition"`
	SecurityProfile   *struct {
		DirectoryType string `json:"directoryType"`
	} `json:"securityProfile"`
	ComputeProfile *struct {
		Roles []roleRequest `json:"roles"`
	} `json:"computeProfile"`
	StorageProfile *struct {
		StorageAccounts []storageRequest `json:"storageaccounts"`
	} `json:"storageProfile"`
	DiskEncryption *struct {
		VaultURI string `json:"vaultUri"`
	} `json:"diskEncryptionProperties"`
	KafkaRest   json.RawMessage `json:"kafkaRestProperties"`
	PrivateLink []any           `json:"privateLinkConfigurations"`
}

type clusterDefinition struct {
	Kind             string            `json:"kind"`
	ComponentVersion map[string]string `json:"componentVersion"`
	Configurations   json.RawMessage   `json:"configurations"`
}

type roleRequest struct {
	Name                string          `json:"name"`
	MinInstanceCount    *int            `json:"minInstanceCount"`
	TargetInstanceCount int             `json:"targetInstanceCount"`
	Autoscale           json.RawMessage `json:"autoscale"`
	HardwareProfile     struct {
		VMSize string `json:"vmSize"`
	} `json:"hardwareProfile"`
	OSProfile *struct {
		Linux *struct {
			Username   string `json:"username"`
			Password   string `json:"password"`
			SSHProfile *struct {
				PublicKeys []struct {
					CertificateData string `json:"certificateData"`
				} `json:"publicKeys"`
			} `json:"sshProfile"`
		} `json:"linuxOperatingSystemProfile"`
	} `json:"osProfile"`
	VirtualNetworkProfile json.RawMessage `json:"virtualNetworkProfile"`
	DataDisksGroups       []struct {
		DisksPerNode int `json:"disksPerNode"`
	} `json:"dataDisksGroups"`
	ScriptActions []struct {
		Name       string `json:"name"`
		URI        string `json:"uri"`
		Parameters string `json:"parameters"`
	} `json:"scriptActions"`
}

type storageRequest struct {
	Name       string `json:"name"`
	IsDefault  bool   `json:"isDefault"`
	Container  string `json:"container"`
	FileSystem string `json:"fileSystem"`
	FileShare  string `json:"fileshare"`
	Key        string `json:"key"`
	SASKey     string `json:"saskey"`
	ResourceID string `json:"resourceId"`
	MSI        string `json:"msiResourceId"`
}

// shown is ClusterGetProperties, the union of all versions: what a cluster's
// resource keeps. A render leaves out what a version does not have.
type shown struct {
	ClusterVersion    string         `json:"clusterVersion"`
	ClusterHDPVersion string         `json:"clusterHdpVersion"`
	OSType            string         `json:"osType"`
	ClusterDefinition shownKind      `json:"clusterDefinition"`
	ComputeProfile    computeProfile `json:"computeProfile"`
	ClusterState      string         `json:"clusterState"`
	CreatedDate       string         `json:"createdDate"`
	QuotaInfo         quotaInfo      `json:"quotaInfo"`
	Errors            []stateError   `json:"errors,omitempty"`
	Endpoints         []endpoint     `json:"connectivityEndpoints,omitempty"`
	Tier              string         `json:"tier"`
	ClusterID         string         `json:"clusterId"`
	StorageProfile    storageProfile `json:"storageProfile"`
	// As given, for versions that have them.
	MinSupportedTLSVersion     json.RawMessage `json:"minSupportedTlsVersion,omitempty"`
	EncryptionInTransit        json.RawMessage `json:"encryptionInTransitProperties,omitempty"`
	NetworkProperties          json.RawMessage `json:"networkProperties,omitempty"`
	ComputeIsolationProperties json.RawMessage `json:"computeIsolationProperties,omitempty"`
}

type shownKind struct {
	Blueprint        string            `json:"blueprint"`
	Kind             string            `json:"kind"`
	ComponentVersion map[string]string `json:"componentVersion"`
}

type computeProfile struct {
	Roles []role `json:"roles"`
}

type role struct {
	Name                  string          `json:"name"`
	MinInstanceCount      *int            `json:"minInstanceCount,omitempty"`
	TargetInstanceCount   int             `json:"targetInstanceCount"`
	HardwareProfile       hardwareProfile `json:"hardwareProfile"`
	OSProfile             *osProfile      `json:"osProfile,omitempty"`
	VirtualNetworkProfile json.RawMessage `json:"virtualNetworkProfile,omitempty"`
	DataDisksGroups       []dataDisks     `json:"dataDisksGroups,omitempty"`
	EncryptDataDisks      bool            `json:"encryptDataDisks"`
}

type hardwareProfile struct {
	VMSize string `json:"vmSize"`
}

type osProfile struct {
	Linux linuxProfile `json:"linuxOperatingSystemProfile"`
}

type linuxProfile struct {
	Username string `json:"username"`
}

type dataDisks struct {
	DisksPerNode       int    `json:"disksPerNode"`
	StorageAccountType string `json:"storageAccountType"`
	DiskSizeGB         int    `json:"diskSizeGB"`
}

type quotaInfo struct {
	CoresUsed int `json:"coresUsed"`
}

type stateError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type endpoint struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Location string `json:"location"`
	Port     int    `json:"port"`
}

type storageProfile struct {
	StorageAccounts []storageShown `json:"storageaccounts"`
}

type storageShown struct {
	Name       string  `json:"name"`
	ResourceID *string `json:"resourceId"`
	MSI        *string `json:"msiResourceId"`
	Key        *string `json:"key"` // never shown
	FileSystem *string `json:"fileSystem"`
	Container  string  `json:"container"`
	SASKey     *string `json:"saskey"`
	IsDefault  bool    `json:"isDefault"`
}

// decode reads properties; a member of a wrong type is the client's fault.
func decode(data json.RawMessage, into any) error {
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	err := json.Unmarshal(data, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return invalidDocument(wrong.Field, "The value of '%s' is of a wrong type: %s", wrong.Field, wrong.Value)
	}
	return err
}

// role of a name, nil if there is none.
func (s *shown) role(name string) *role {
	for i := range s.ComputeProfile.Roles {
		if strings.EqualFold(s.ComputeProfile.Roles[i].Name, name) {
			return &s.ComputeProfile.Roles[i]
		}
	}
	return nil
}

func shownOf(r *arm.Resource) (s shown, err error) {
	if len(r.Properties) > 0 {
		err = json.Unmarshal(r.Properties, &s)
	}
	return s, err
}

func (s shown) store(r *arm.Resource) (err error) {
	r.Properties, err = json.Marshal(s)
	return err
}

// stamp is a time as the service writes it: to the millisecond, without a zone and without zeros.
const stampFormat = "2006-01-02T15:04:05.999"
