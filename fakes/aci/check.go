package aci

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
)

// labelRule is the one rule of containers' names and DNS labels, at least of its own length each.
var labelRule = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

var (
	nameRule     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	variableRule = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)
)

// check is what the service refuses of a group by itself.
func check(g *groupProperties, group string, place region) error {
	if !nameRule.MatchString(group) {
		return refuse("InvalidContainerGroupName", "name", "The container group name '%s' is invalid. It can contain only lowercase letters, numbers and hyphens. The first and the last character must be a letter or number. The value must be between 1 and 63 characters long.", group)
	}
	if g.OSType != "Linux" {
		return unsupported("properties.osType", "Container groups of the OS type '"+g.OSType+"' are not emulated: Linux containers run here.")
	}
	if g.SKU == "Confidential" || g.SKU == "Dedicated" {
		return unsupported("properties.sku", "Container groups of the SKU '"+g.SKU+"' are not emulated.")
	}
	if len(g.Containers) == 0 {
		return absent("properties.containers")
	}
	for _, e := range []error{checkContainers(g, group), checkResources(g, group, place), checkPorts(g, group), checkVolumes(g, group)} {
		if e != nil {
			return e
		}
	}
	for i, c := range g.ImageRegistryCredentials {
		if c.Identity == "" && (c.Username == "" || c.Password == "") {
			return refuse("InvalidImageRegistryCredential", fmt.Sprintf("properties.imageRegistryCredentials[%d]", i), "The user name and the password of the image registry credential '%s' in container group '%s' cannot be empty.", c.Server, group)
		}
	}
	return nil
}

func checkContainers(g *groupProperties, group string) (err error) {
	seen := map[string]bool{}
	g.every(func(c *containerItem, _ bool) {
		if err != nil {
			return
		}
		p := &c.Properties
		if p.Ports == nil {
			p.Ports = []port{}
		}
		if p.Environment == nil {
			p.Environment = []variable{}
		}
		switch {
		case !nameRule.MatchString(c.Name):
			err = refuse("InvalidContainerName", "name", "The container name '%s' in container group '%s' is invalid. It can contain only lowercase letters, numbers and hyphens. The first and the last character must be a letter or number. The value must be between 1 and 63 characters long.", c.Name, group)
			return
		case seen[c.Name]:
			err = refuse("DuplicateContainerNames", "name", "Duplicate container name '%s' found in container group '%s'.", c.Name, group)
			return
		case strings.TrimSpace(p.Image) == "":
			err = refuse("InvalidContainerImage", "image", "The image in container '%s' of container group '%s' cannot be empty.", c.Name, group)
			return
		}
		seen[c.Name] = true
		for _, e := range p.Environment {
			if !variableRule.MatchString(e.Name) {
				err = refuse("InvalidEnvironmentVariableName", "environmentVariables", "The environment variable name '%s' in container '%s' of container group '%s' is invalid.", e.Name, c.Name, group)
			} else if e.Value != nil && e.SecureValue != nil {
				err = refuse("InvalidEnvironmentVariableValue", "environmentVariables", "The environment variable '%s' in container '%s' of container group '%s' must have either a 'value' or a 'secureValue', not both.", e.Name, c.Name, group)
			}
		}
		for _, x := range []*probe{p.LivenessProbe, p.ReadinessProbe} {
			if x != nil && (x.Exec == nil) == (x.HTTPGet == nil) {
				err = refuse("InvalidContainerProbe", "livenessProbe", "A probe in container '%s' of container group '%s' must have either 'exec' or 'httpGet'.", c.Name, group)
			}
		}
	})
	return err
}

// total is what a group requests.
func total(g *groupProperties) (cpu, memory float64) {
	for _, c := range g.Containers {
		if r := c.Properties.Resources; r != nil {
			cpu += number(r.Requests.CPU)
			memory += number(r.Requests.MemoryInGB)
		}
	}
	return cpu, memory
}

func checkResources(g *groupProperties, group string, place region) error {
	cpu, memory := total(g)
	gpu := false
	for _, c := range g.Containers {
		r := c.Properties.Resources
		r.Requests.CPU, r.Requests.MemoryInGB = double(r.Requests.CPU), double(r.Requests.MemoryInGB)
		if r.Limits != nil {
			r.Limits.CPU, r.Limits.MemoryInGB = double(r.Limits.CPU), double(r.Limits.MemoryInGB)
		}
		gpu = gpu || len(r.Requests.GPU) > 0
		for _, x := range []struct {
			name    string
			request json.Number
		}{{"Cpu", r.Requests.CPU}, {"MemoryInGB", r.Requests.MemoryInGB}} {
			if number(x.request) <= 0 {
				return refuse("ResourceSomeRequestsNotSpecified", "resources.requests", "The '%s' request is not specified in 'ComputeResources' in container '%s' of contain group '%s'. It is required since API version '2017-07-01-preview'.", x.name, c.Name, group)
			}
		}
		if r.Limits == nil {
			continue
		}
		for _, x := range []struct {
			name           string
			request, limit json.Number
			whole          float64
		}{{"Cpu", r.Requests.CPU, r.Limits.CPU, cpu}, {"MemoryInGB", r.Requests.MemoryInGB, r.Limits.MemoryInGB, memory}} {
			if x.limit == "" {
				continue
			}
			if number(x.limit) < number(x.request) {
				said, _ := json.Marshal(r)
				return refuse("ResourceLimitsLessThanRequests", "resources.limits", "The resource requirement '%s' in container '%s' of contain group '%s' is invalid. The '%s' limit value must be greater than or equal to the request value.", said, c.Name, group, x.name)
			}
			if number(x.limit) > x.whole {
				return refuse("ContainerLimitGreaterThanContainerGroupTotalRequest", "resources.limits", "The '%s' limit '%s' in container '%s' is greater than the total request '%s' of container group '%s'.", x.name, x.limit, c.Name, plain(x.whole), group)
			}
		}
	}
	if cpu > place.MaxCPU || memory > place.MaxMemoryInGB || gpu {
		with := ""
		if gpu {
			with = " with GPU"
		}
		return &arm.Error{Status: http.StatusConflict, Code: "ServiceUnavailable", Message: fmt.Sprintf("The requested resource is not available in the location '%s' at this moment. Please retry with a different resource request or in another location. Resource requested: '%s' CPU '%s' GB memory '%s' OS%s", place.Name, plain(cpu), plain(memory), g.OSType, with)}
	}
	return nil
}

func plain(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func checkPorts(g *groupProperties, group string) error {
	used := map[port]bool{}
	for _, c := range g.Containers {
		for _, p := range c.Properties.Ports {
			if used[p] {
				return refuse("DuplicateContainerPorts", "ports", "Duplicate ports '%d' found in container group '%s'. The containers of a group share one port namespace.", p.Port, group)
			}
			used[p] = true
		}
	}
	a := g.IPAddress
	if a == nil {
		return nil
	}
	if len(a.Ports) == 0 {
		return refuse("MissingIpAddressPorts", "properties.ipAddress.ports", "The ports in the 'ipAddress' of container group '%s' cannot be empty.", group)
	}
	var loose []string
	for _, p := range a.Ports {
		if !used[p] {
			loose = append(loose, strconv.Itoa(p.Port))
		}
	}
	if len(loose) > 0 {
		return refuse("UnreferencedIpAddressPorts", "properties.ipAddress.ports", "Following ports '%s' in the 'ipAddress' are not used by any container in container group '%s'.", strings.Join(loose, ","), group)
	}
	if l := a.DNSNameLabel; l != "" && (len(l) < 5 || len(l) > 63 || !labelRule.MatchString(l)) {
		return refuse("InvalidDnsNameLabel", "properties.ipAddress.dnsNameLabel", "The DNS name label '%s' in container group '%s' is invalid. It can contain only lowercase letters, numbers and hyphens. The first character must be a letter. The last character must be a letter or number. The value must be between 5 and 63 characters long.", l, group)
	}
	return nil
}

func checkVolumes(g *groupProperties, group string) (err error) {
	seen := map[string]bool{}
	for _, v := range g.Volumes {
		kinds := 0
		for _, there := range []bool{v.AzureFile != nil, v.EmptyDir != nil, v.Secret != nil, v.GitRepo != nil} {
			if there {
				kinds++
			}
		}
		switch {
		case !nameRule.MatchString(v.Name):
			return refuse("InvalidVolumeName", "properties.volumes", "The volume name '%s' in container group '%s' is invalid. It can contain only lowercase letters, numbers and hyphens.", v.Name, group)
		case seen[v.Name]:
			return refuse("DuplicateVolumeNames", "properties.volumes", "Duplicate volume name '%s' found in container group '%s'.", v.Name, group)
		case kinds != 1:
			return refuse("InvalidVolume", "properties.volumes", "The volume '%s' in container group '%s' must have exactly one of 'azureFile', 'emptyDir', 'secret' and 'gitRepo'.", v.Name, group)
		case v.AzureFile != nil && v.AzureFile.StorageAccountKey == "":
			return refuse("MissingStorageAccountKey", "properties.volumes", "The storage account key in the volume '%s' of container group '%s' cannot be empty.", v.Name, group)
		case v.GitRepo != nil && !inside(v.GitRepo.Directory):
			return refuse("InvalidGitRepoDirectory", "properties.volumes", "The directory '%s' in the gitRepo volume '%s' of container group '%s' must not contain or start with '..'.", v.GitRepo.Directory, v.Name, group)
		}
		seen[v.Name] = true
		for file, content := range v.Secret {
			if _, err := base64.StdEncoding.DecodeString(content); err != nil || file == "" || strings.ContainsAny(file, "/\x00") || file == "." || file == ".." {
				return refuse("InvalidSecretVolume", "properties.volumes", "The secret '%s' in the volume '%s' of container group '%s' is invalid: its value must be in base64.", file, v.Name, group)
			}
		}
	}
	g.every(func(c *containerItem, _ bool) {
		for _, m := range c.Properties.VolumeMounts {
			if err != nil {
				return
			}
			if !seen[m.Name] {
				err = refuse("VolumeMountNotFound", "volumeMounts", "The volume '%s' that is mounted in container '%s' is not found in the volumes of container group '%s'.", m.Name, c.Name, group)
			} else if !path.IsAbs(m.MountPath) || strings.Contains(m.MountPath, ":") || path.Clean(m.MountPath) == "/" {
				err = refuse("InvalidVolumeMountPath", "volumeMounts", "The mount path '%s' in container '%s' of container group '%s' is invalid: it must be absolute and must not contain a colon.", m.MountPath, c.Name, group)
			}
		}
	})
	return err
}

// inside says whether a folder stays in the one that it is relative to.
func inside(folder string) bool {
	return !path.IsAbs(folder) && !strings.HasPrefix(path.Clean(folder), "..")
}
