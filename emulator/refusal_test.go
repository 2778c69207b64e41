package emulator_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lazulite.dev/emulator"
	"lazulite.dev/emulator/clock/clocktest"
)

// Ensure that bad input to the resource manager gets the real service's status,
// code and words, names the field, and changes nothing. What the engine itself
// refuses is in arm's own tests; here are the types that the emulator puts into it.
func TestRefusals(t *testing.T) {
	_, c := up(t)
	c.workspace()
	c.must(200, "PUT {P}/Microsoft.KeyVault/vaults/vault", `{"location":"eastus2","properties":{"sku":{"name":"standard"}}}`)
	c.must(201, "PUT {ARM}/resourceGroups/h", `{"location":"eastus2"}`)
	c.must(201, "PUT {P}/Microsoft.ContainerRegistry/registries/registry", `{"location":"eastus2","sku":{"name":"Basic"}}`)
	id := func(kind, name string) string {
		return c.expand("{SUB}/resourceGroups/g/providers/" + kind + "/" + name)
	}
	ws := func(members string) string { return `{"location":"eastus2","properties":{` + members + `}}` }
	vm := func(members string) string {
		return `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":{` + members + `}}}`
	}
	acct := `"storageAccount":"` + id("Microsoft.Storage/storageAccounts", "acct") + `"`
	const w = "PUT {P}/Microsoft.MachineLearningServices/workspaces/"
	for _, row := range []struct {
		name, request, body  string
		status               int
		code, message, field string
	}{
		{"NoVersion", "PUT {WS}!", ws(acct), 400, "MissingApiVersionParameter", "", ""},
		{"NoVersionOfAList", "GET {WS}/computes!", "", 400, "MissingApiVersionParameter", "", ""},
		{"NoVersionOfAnAction", "POST {WS}/listKeys!", "", 400, "MissingApiVersionParameter", "", ""},
		{"OldVersion", "GET {WS}?api-version=2017-01-01", "", 400, "NoRegisteredProviderFound", "'2017-01-01' for type 'workspaces'. The supported api-versions are '2018-03-01-preview'", ""},
		{"OldVersionOfAComputes", "GET {WS}/computes/x?api-version=2017-01-01", "", 400, "NoRegisteredProviderFound", "for type 'workspaces/computes'", ""},
		{"VersionFormat", "GET {WS}?api-version=newest", "", 400, "", "newest", ""},
		{"OldVersionOfStorage", "GET {P}/Microsoft.Storage/storageAccounts/acct?api-version=2014-01-01", "", 400, "NoRegisteredProviderFound", "", ""},
		{"OldVersionOfCompute", "GET {P}/Microsoft.Compute/virtualMachines?api-version=2014-01-01", "", 400, "NoRegisteredProviderFound", "", ""},

		{"JSON", w + "other", `{"location":`, 400, "InvalidRequestContent", "", ""},
		{"JSONOfACompute", "PUT {WS}/computes/c1", `{"location":"eastus2",}`, 400, "InvalidRequestContent", "", ""},
		{"JSONOfAccount", "PUT {P}/Microsoft.Storage/storageAccounts/other", `{'location'}`, 400, "InvalidRequestContent", "", ""},
		{"JSONOfCheckName", "POST {ARM}/providers/Microsoft.Storage/checkNameAvailability?api-version=2018-02-01", `{`, 400, "InvalidRequestContent", "", ""},
		{"JSONOfKey", "POST {P}/Microsoft.Storage/storageAccounts/acct/regenerateKey", `{`, 400, "InvalidRequestContent", "", ""},

		{"WorkspaceProperties", w + "other", `{"location":"eastus2","properties":"x"}`, 400, "InvalidRequestContent", "Path 'properties'", ""},
		{"WorkspaceAccountType", w + "other", ws(`"storageAccount":{}`), 400, "InvalidRequestContent", "Path 'properties.storageAccount'", ""},
		{"WorkspaceDescription", w + "other", ws(acct + `,"description":"` + strings.Repeat("x", 1025) + `"`), 400, "", "properties.description", ""},
		{"WorkspaceFriendlyName", w + "other", ws(acct + `,"friendlyName":[]`), 400, "InvalidRequestContent", "Path 'properties.friendlyName'", ""},
		{"ComputeTypeType", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{"computeType":["x"]}}`, 400, "InvalidRequestContent", "Path 'properties.computeType'", ""},
		{"ComputePropertiesType", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{"computeType":"VirtualMachine","properties":[]}}`, 400, "InvalidRequestContent", "Path 'properties.properties'", ""},
		{"ComputeSizeType", "PUT {WS}/computes/c1", vm(`"virtualMachineSize":{}`), 400, "InvalidRequestContent", "Path 'properties.properties.virtualMachineSize'", ""},
		{"ComputeAccountType", "PUT {WS}/computes/c1", vm(`"address":"a","administratorAccount":"root"`), 400, "InvalidRequestContent", "Path 'properties.properties.administratorAccount'", ""},
		{"ComputePasswordType", "PUT {WS}/computes/c1", vm(`"address":"a","administratorAccount":{"username":"u","password":[5]}`), 400, "InvalidRequestContent", "administratorAccount.password", ""},
		{"ComputePort", "PUT {WS}/computes/c1", vm(`"address":"a","sshPort":"ssh","administratorAccount":{"username":"u","password":"p"}`), 400, "BadRequest", "from 1 to 65535", "properties.properties.sshPort"},
		{"ComputePortRange", "PUT {WS}/computes/c1", vm(`"address":"a","sshPort":70000,"administratorAccount":{"username":"u","password":"p"}`), 400, "BadRequest", "70000", "properties.properties.sshPort"},
		{"ComputePortType", "PUT {WS}/computes/c1", vm(`"address":"a","sshPort":{},"administratorAccount":{"username":"u","password":"p"}`), 400, "BadRequest", "from 1 to 65535", "properties.properties.sshPort"},
		{"AccountSKUType", "PUT {P}/Microsoft.Storage/storageAccounts/other", `{"location":"eastus2","sku":"Standard_LRS"}`, 400, "InvalidRequestContent", "Path 'sku'", ""},
		{"AccountSKUNameType", "PUT {P}/Microsoft.Storage/storageAccounts/other", `{"location":"eastus2","sku":{"name":[5]}}`, 400, "InvalidRequestContent", "Name", ""},
		{"CheckNameType", "POST {ARM}/providers/Microsoft.Storage/checkNameAvailability?api-version=2018-02-01", `{"name":5}`, 400, "InvalidRequestContent", "", ""},
		{"VaultPropertiesType", "PUT {P}/Microsoft.KeyVault/vaults/other", `{"location":"eastus2","properties":[]}`, 400, "InvalidRequestContent", "Path 'properties'", ""},

		{"Size", "PUT {WS}/computes/c1", vm(`"virtualMachineSize":"Standard_Huge"`), 400, "BadRequest", "The VM size 'Standard_Huge' is not available in the region 'eastus2'.", "properties.properties.virtualMachineSize"},
		{"ComputeNoType", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{}}`, 400, "", "computeType", ""},
		{"ComputeType", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{"computeType":"Abacus","properties":{}}}`, 400, "BadRequest", "'Abacus' is not supported", "properties.computeType"},
		{"ComputeNoProperties", "PUT {WS}/computes/c1", `{"location":"eastus2"}`, 400, "", "computeType", ""},
		{"AttachNoUser", "PUT {WS}/computes/c1", vm(`"address":"10.0.0.1"`), 400, "BadRequest", "user name is required", "properties.properties.administratorAccount.username"},
		{"AttachNoSecret", "PUT {WS}/computes/c1", vm(`"address":"10.0.0.1","administratorAccount":{"username":"u"}`), 400, "BadRequest", "password or a private key", "properties.properties.administratorAccount"},
		{"AttachNoAddress", "PUT {WS}/computes/c1", vm(`"administratorAccount":{"username":"u","password":"p"}`), 400, "BadRequest", "address is required", "properties.properties.address"},
		{"AttachAddress", "PUT {WS}/computes/c1", vm(`"address":"http://x/","administratorAccount":{"username":"u","password":"p"}`), 400, "BadRequest", "not a host name", "properties.properties.address"},
		{"AttachNoMachine", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{"computeType":"VirtualMachine","resourceId":"` + id("Microsoft.Compute/virtualMachines", "none") +
			`","properties":{"administratorAccount":{"username":"u","password":"p"}}}}`, 404, "ResourceNotFound", "virtualMachines/none", ""},
		{"AttachOtherKind", "PUT {WS}/computes/c1", `{"location":"eastus2","properties":{"computeType":"VirtualMachine","resourceId":"` + id("Microsoft.Storage/storageAccounts", "acct") +
			`","properties":{"administratorAccount":{"username":"u","password":"p"}}}}`, 400, "BadRequest", "not that of a virtual machine", "properties.resourceId"},

		{"NameOfAComputes", "PUT {WS}/computes/1c", vm(""), 400, "BadRequest", "Compute name '1c' is invalid", "computeName"},
		{"NameOfAComputesLength", "PUT {WS}/computes/" + strings.Repeat("c", 37), vm(""), 400, "BadRequest", "2 to 36", "computeName"},
		{"NameOfAWorkspace", w + "a.b", ws(acct), 400, "ValidationError", "Workspace name 'a.b' is invalid", "workspaceName"},
		{"NameOfAWorkspaceLength", w + strings.Repeat("w", 34), ws(acct), 400, "ValidationError", "3 to 33", "workspaceName"},
		{"NameOfAnAccount", "PUT {P}/Microsoft.Storage/storageAccounts/Big_Name", storageBody, 400, "AccountNameInvalid", "Big_Name is not a valid storage account name", ""},
		{"NameOfAVault", "PUT {P}/Microsoft.KeyVault/vaults/1v", `{"location":"eastus2","properties":{}}`, 400, "InvalidResourceName", "3 to 24", "name"},
		{"NameOfARegistry", "PUT {P}/Microsoft.ContainerRegistry/registries/a-b-c-d", `{"location":"eastus2","sku":{"name":"Basic"}}`, 400, "InvalidResourceName", "5 to 50", "name"},
		{"NameOfAGroup", "PUT {ARM}/resourceGroups/h*h", `{"location":"eastus2"}`, 400, "InvalidResourceGroup", "'h*h'", ""},
		{"AccountTaken", "PUT {ARM}/resourceGroups/h/providers/Microsoft.Storage/storageAccounts/acct", storageBody, 409, "StorageAccountAlreadyTaken", "acct is already taken", ""},
		{"VaultTaken", "PUT {ARM}/resourceGroups/h/providers/Microsoft.KeyVault/vaults/Vault", `{"location":"eastus2","properties":{}}`, 409, "VaultAlreadyExists", "'Vault'", ""},
		{"RegistryTaken", "PUT {ARM}/resourceGroups/h/providers/Microsoft.ContainerRegistry/registries/registry", `{"location":"eastus2","sku":{"name":"Basic"}}`, 409, "AlreadyInUse", "registry.azurecr.io", ""},
		{"AccountSKU", "PUT {P}/Microsoft.Storage/storageAccounts/other", `{"location":"eastus2"}`, 400, "InvalidRequestPropertyValue", "sku.name", "sku.name"},
		{"KeyName", "POST {P}/Microsoft.Storage/storageAccounts/acct/regenerateKey", `{"keyName":"key3"}`, 400, "InvalidRequestPropertyValue", "key3", "keyName"},

		{"WorkspaceNoAccount", w + "other", ws(""), 400, "ValidationError", "storageAccount", "storageAccount"},
		{"WorkspaceNoBody", w + "other", ``, 400, "LocationRequired", "", ""},
		{"WorkspaceAccount", w + "other", ws(`"storageAccount":"acct"`), 400, "ValidationError", "not the id of a Microsoft.Storage/storageAccounts", "storageAccount"},
		{"WorkspaceAccountAbsent", w + "other", ws(`"storageAccount":"` + id("Microsoft.Storage/storageAccounts", "none") + `"`), 400, "ValidationError", "was not found", "storageAccount"},
		{"WorkspaceVaultKind", w + "other", ws(acct + `,"keyVault":"` + id("Microsoft.Storage/storageAccounts", "acct") + `"`), 400, "ValidationError", "keyVault", "keyVault"},
		{"WorkspaceChange", "PUT {WS}", ws(`"storageAccount":"` + id("Microsoft.Storage/storageAccounts", "second") + `"`), 400, "ValidationError", "can't be changed", "storageAccount"},
		{"WorkspaceRegion", w + "other", `{"location":"moon","properties":{` + acct + `}}`, 400, "LocationNotAvailableForResourceType", "'moon'", ""},
		{"WorkspaceMoves", "PUT {WS}", `{"location":"westeurope","properties":{` + acct + `}}`, 409, "InvalidResourceLocation", "", ""},
		{"GroupMoves", "PUT {G}", `{"location":"West US"}`, 409, "InvalidResourceGroupLocation", "Invalid resource group location 'West US'. The Resource group already exists in location 'eastus2'.", ""},
		{"ComputeWithoutWorkspace", "PUT {P}/Microsoft.MachineLearningServices/workspaces/none/computes/c1", vm(""), 404, "ParentResourceNotFound", "", ""},
		{"ComputeActionAbsent", "POST {WS}/computes/none/listKeys", "", 404, "ResourceNotFound", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.t = t
			before := c.must(200, "GET {ARM}/resources?$top=1000", nil)
			var body any
			if row.body != "" {
				body = row.body
			}
			a := c.do(row.request, body)
			if a.status != row.status || row.code != "" && a.text("error.code") != row.code || a.text("error.code") == "" || !strings.Contains(a.text("error.message"), row.message) {
				t.Errorf("want %d %s %q, got %s", row.status, row.code, row.message, a)
			}
			if row.field != "" && !strings.EqualFold(a.text("error.target"), row.field) {
				t.Errorf("target is %q, not %q", a.text("error.target"), row.field)
			}
			if after := c.must(200, "GET {ARM}/resources?$top=1000", nil); string(after.body) != string(before.body) {
				t.Errorf("resources changed\n%s\n%s", before, after)
			}
		})
	}
}

// Ensure that a name that is taken is refused while its holder is there, in any case, and free afterwards.
func TestTakenNames(t *testing.T) {
	needPython(t)
	_, c := up(t)
	c.workspace()
	c.put("{WS}/computes/mine", vmBody)
	for _, name := range []string{"mine", "MINE"} {
		a := c.do("PUT {WS}/computes/"+name, vmBody)
		if a.status != 409 || !strings.Contains(a.text("error.message"), "already exists in the workspace") {
			t.Errorf("a second compute %s: %s", name, a)
		}
	}
	c.must(202, "DELETE {WS}/computes/mine", nil)
	c.gone("{WS}/computes/mine")
	c.put("{WS}/computes/mine", vmBody)
	c.must(202, "DELETE {WS}/computes/mine", nil)
	c.gone("{WS}/computes/mine")
	if a := c.must(200, "GET {P}/Microsoft.Network/networkInterfaces", nil); len(a.get("value").([]any)) != 0 {
		t.Errorf("the machine left interfaces: %s", a)
	}
	check := func(name string, want bool, reason any) {
		t.Helper()
		a := c.must(200, "POST {ARM}/providers/Microsoft.Storage/checkNameAvailability?api-version=2018-02-01", map[string]string{"name": name, "type": "Microsoft.Storage/storageAccounts"})
		if a.get("nameAvailable") != want || a.get("reason") != reason {
			t.Errorf("%s: %s", name, a)
		}
	}
	check("acct", false, "AlreadyExists")
	check("Acct", false, "AccountNameInvalid")
	check("other", true, nil)
	c.must(201, "PUT {ARM}/resourceGroups/h", `{"location":"eastus2"}`)
	c.must(202, "PUT {ARM}/resourceGroups/h/providers/Microsoft.Storage/storageAccounts/other", storageBody)
	c.must(409, "PUT {P}/Microsoft.Storage/storageAccounts/other", storageBody)
	c.state("{ARM}/resourceGroups/h/providers/Microsoft.Storage/storageAccounts/other", "Succeeded")
	c.must(200, "DELETE {ARM}/resourceGroups/h/providers/Microsoft.Storage/storageAccounts/other", nil)
	check("other", true, nil)
	c.must(202, "PUT {P}/Microsoft.Storage/storageAccounts/other", storageBody)
}

// Ensure that of many who ask for one storage account at the same time, each in
// a group of his own, one gets it, and that what the others left can be removed
// without taking his.
func TestOneOfManyGetsAnAccount(t *testing.T) {
	// Who lost the race is shown as Failed, a word that the document lacks: at Azure it would not be there at all.
	_, c := up(t, func(cfg *emulator.Config) { cfg.Around = nil })
	const many = 8
	var asked sync.WaitGroup
	status := make([]int, many)
	u := func(i int) string {
		return fmt.Sprintf("{ARM}/resourceGroups/g%d/providers/Microsoft.Storage/storageAccounts/wanted", i)
	}
	for i := range many {
		c.must(201, fmt.Sprintf("PUT {ARM}/resourceGroups/g%d", i), `{"location":"eastus2"}`)
	}
	for i := range many {
		asked.Go(func() {
			a, err := c.try(context.Background(), "PUT "+u(i), storageBody)
			if err != nil {
				t.Error(err)
			}
			status[i] = a.status
		})
	}
	asked.Wait()
	holder := -1
	for i, s := range status {
		if s != 202 && s != 409 {
			t.Errorf("%d: %d", i, s)
		}
		if s != 202 {
			continue
		}
		var a answer
		clocktest.Missing(t, time.Minute, func() string {
			if a = c.do("GET "+u(i), nil); a.text("properties.provisioningState") == "Creating" {
				return a.String()
			}
			return ""
		})
		if a.text("properties.provisioningState") == "Succeeded" {
			if holder >= 0 {
				t.Errorf("%d and %d both have it", holder, i)
			}
			holder = i
		}
	}
	if holder < 0 {
		t.Fatalf("nobody has it: %v", status)
	}
	for i := range many {
		if a := c.do("DELETE "+u((holder+1+i)%many), nil); i < many-1 && a.status >= 300 {
			t.Errorf("DELETE of %d: %s", i, a)
		} else if i == many-2 {
			c.must(200, "POST "+u(holder)+"/listKeys", "")
		}
	}
	c.must(202, "PUT "+u(0), storageBody)
	c.state(u(0), "Succeeded")
}

// Ensure that a project that would leave its folder, or fill the machine, is refused before anything is made of it.
func TestProjectRefusals(t *testing.T) {
	dir := t.TempDir()
	_, c := up(t, func(cfg *emulator.Config) { cfg.Dir = dir })
	c.workspace()
	pack := func(h zip.FileHeader, content string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		// Raw, so that the header may lie.
		h.Method, h.CRC32, h.CompressedSize64 = zip.Store, crc32.ChecksumIEEE([]byte(content)), uint64(len(content))
		if h.UncompressedSize64 == 0 {
			h.UncompressedSize64 = h.CompressedSize64
		}
		w, err := z.CreateRaw(&h)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	link := zip.FileHeader{Name: "data"}
	link.SetMode(fs.ModeSymlink | 0o777)
	device := zip.FileHeader{Name: "data"}
	device.SetMode(fs.ModeDevice | 0o666)
	for _, row := range []struct {
		name    string
		zip     []byte
		status  int
		message string
	}{
		{"up", pack(zip.FileHeader{Name: "../evil"}, "x"), 400, "'../evil' of project.zip would be unpacked outside"},
		{"up from below", pack(zip.FileHeader{Name: "a/b/../../../evil"}, "x"), 400, "outside"},
		{"backslashes", pack(zip.FileHeader{Name: `a\..\..\evil`}, "x"), 400, "outside"},
		{"absolute", pack(zip.FileHeader{Name: "/etc/evil"}, "x"), 400, "outside"},
		{"drive", pack(zip.FileHeader{Name: "C:/evil"}, "x"), 400, "outside"},
		{"symbolic link", pack(link, "/etc/passwd"), 400, "'data' of project.zip is a link or a device"},
		{"device", pack(device, ""), 400, "is a link or a device"},
		{"bomb", pack(zip.FileHeader{Name: "big", UncompressedSize64: 400 << 20}, "x"), 413, "unpacks to more than 300 MB"},
		{"no zip", []byte("PK\x03\x04"), 400, "project.zip is not a zip"},
		{"cut off", zipped(map[string]string{"train.py": strings.Repeat("x", 1000)})[:100], 400, "project.zip is not a zip"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.t = t
			body, ctype := form(part{filename: "definition.json", content: definition("target", "train.py")}, part{filename: "project.zip", content: row.zip})
			a := c.do("POST {execution}/experiments/exp/run", body, ctype)
			if a.status != row.status || !strings.Contains(a.text("error.message"), row.message) {
				t.Errorf("want %d %q: %s", row.status, row.message, a)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "runs", "*", "*"))
			runs := c.do("GET {history}/experiments", nil)
			if len(left) != 0 || strings.Contains(string(runs.body), "exp\"") {
				t.Errorf("left: %v %s", left, runs)
			}
		})
	}
}
