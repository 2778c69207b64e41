package blob

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
)

// defaultQuota is a share's size limit in GiB where none is set. Quotas are kept and shown, not enforced.
const defaultQuota = 5120

// fileOperations are in the order of the File service REST API reference.
var fileOperations = []operation{
	{name: "List Shares", level: 's', method: "GET", comp: "list", need: "l", do: (*call).listContainers},
	{name: "Get File Service Properties", level: 's', method: "GET", restype: "service", comp: "properties", need: "r", do: (*call).getFileService},

	{name: "Create Share", level: 'c', method: "PUT", restype: "share", need: "cw", do: (*call).createShare},
	{name: "Get Share Properties", level: 'c', method: "GET", restype: "share", need: "r", do: (*call).shareProperties},
	{name: "Set Share Properties", level: 'c', method: "PUT", restype: "share", comp: "properties", need: "w", do: (*call).setShareProperties},
	{name: "Get Share Metadata", level: 'c', method: "GET", restype: "share", comp: "metadata", need: "r", do: (*call).shareProperties},
	{name: "Set Share Metadata", level: 'c', method: "PUT", restype: "share", comp: "metadata", need: "w", do: (*call).setContainerMetadata},
	{name: "Get Share ACL", level: 'c', method: "GET", restype: "share", comp: "acl", do: (*call).getACL},
	{name: "Set Share ACL", level: 'c', method: "PUT", restype: "share", comp: "acl", do: (*call).setACL},
	{name: "Get Share Stats", level: 'c', method: "GET", restype: "share", comp: "stats", need: "r", do: (*call).shareStats},
	{name: "Delete Share", level: 'c', method: "DELETE", restype: "share", need: "d", do: (*call).deleteContainer},

	{name: "List Directories and Files", level: 'c', method: "GET", restype: "directory", comp: "list", need: "l", service: true, do: (*call).listDirectory},
	{name: "List Directories and Files", level: 'o', srt: 'c', method: "GET", restype: "directory", comp: "list", need: "l", service: true, do: (*call).listDirectory},
	{name: "Create Directory", level: 'o', method: "PUT", restype: "directory", need: "cw", service: true, do: (*call).createDirectory},
	{name: "Get Directory Properties", level: 'c', srt: 'o', method: "GET", restype: "directory", need: "r", service: true, do: (*call).directoryProperties},
	{name: "Get Directory Properties", level: 'o', method: "GET", restype: "directory", need: "r", service: true, do: (*call).directoryProperties},
	{name: "Get Directory Metadata", level: 'o', method: "GET", restype: "directory", comp: "metadata", need: "r", service: true, do: (*call).directoryProperties},
	{name: "Set Directory Metadata", level: 'o', method: "PUT", restype: "directory", comp: "metadata", need: "w", service: true, do: (*call).setNodeMetadata},
	{name: "Delete Directory", level: 'o', method: "DELETE", restype: "directory", need: "d", service: true, do: (*call).deleteNode},

	{name: "Copy File", level: 'o', method: "PUT", need: "cw", service: true, when: has("x-ms-copy-source"), do: (*call).notImplemented},
	{name: "Create File", level: 'o', method: "PUT", need: "cw", service: true, do: (*call).createFile},
	{name: "Get File", level: 'o', method: "GET", need: "r", service: true, do: (*call).getFile},
	{name: "Set File Properties", level: 'o', method: "PUT", comp: "properties", need: "w", service: true, do: (*call).setFileProperties},
	{name: "Get File Metadata", level: 'o', method: "GET", comp: "metadata", need: "r", service: true, do: (*call).fileMetadata},
	{name: "Set File Metadata", level: 'o', method: "PUT", comp: "metadata", need: "w", service: true, do: (*call).setNodeMetadata},
	{name: "Put Range", level: 'o', method: "PUT", comp: "range", need: "w", service: true, do: (*call).putRange},
	{name: "List Ranges", level: 'o', method: "GET", comp: "rangelist", need: "r", service: true, do: (*call).listRanges},
	{name: "Delete File", level: 'o', method: "DELETE", need: "d", service: true, do: (*call).deleteNode},
}

func (c *call) notImplemented() error { return fail("NotImplemented") }

func (k *container) quota() int {
	if k.Quota == 0 {
		return defaultQuota
	}
	return k.Quota
}

// shareQuota reads x-ms-share-quota; 0 if absent.
func (c *call) shareQuota() (int, error) {
	v := c.header("x-ms-share-quota")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 102400 {
		return 0, badHeader("x-ms-share-quota", v)
	}
	return n, nil
}

// createShare is Create Share.
func (c *call) createShare() error {
	quota, err := c.shareQuota()
	if err != nil {
		return err
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, made, err := c.s.makeContainer(c.ctx(), c.account, shareKeys, c.container, func(k *container) {
		k.Quota, k.Meta = quota, meta
	})
	if err != nil {
		return err
	}
	if !made {
		return exists(shareKeys)
	}
	c.stampContainer(k)
	return c.ok(http.StatusCreated)
}

// shareProperties is Get Share Properties and Get Share Metadata.
func (c *call) shareProperties() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	c.stampContainer(k)
	showMetadata(c.w.Header(), k.Meta)
	if c.q.Get("comp") == "" {
		c.w.Header().Set("x-ms-share-quota", strconv.Itoa(k.quota()))
	}
	return c.ok(http.StatusOK)
}

// setShareProperties is Set Share Properties: the quota.
func (c *call) setShareProperties() error {
	quota, err := c.shareQuota()
	if err != nil {
		return err
	}
	if quota == 0 {
		return missingHeader("x-ms-share-quota")
	}
	k, err := c.s.changeContainer(c.ctx(), c.account, shareKeys, c.container, conditions{}, func(k *container) { k.Quota = quota })
	if err != nil {
		return err
	}
	c.stampContainer(k)
	return c.ok(http.StatusOK)
}

// shareStats is Get Share Stats: what the share holds.
func (c *call) shareStats() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	used, err := c.s.used(c.ctx(), k)
	if err != nil {
		return err
	}
	c.stampContainer(k)
	return c.xml(http.StatusOK, fmt.Sprintf("<ShareStats><ShareUsage>%d</ShareUsage><ShareUsageBytes>%d</ShareUsageBytes></ShareStats>", (used+gib-1)/gib, used))
}

// getFileService is Get File Service Properties: they cannot be set.
func (c *call) getFileService() error {
	x := defaultServiceProperties()
	x.Logging, x.DeleteRetentionPolicy, x.StaticWebsite = nil, nil, nil
	body, err := xml.Marshal(x)
	if err != nil {
		return err
	}
	return c.xml(http.StatusOK, string(body))
}
