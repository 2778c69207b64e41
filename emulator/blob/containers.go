package blob

import (
	"encoding/xml"
	"net/http"
	"strings"
)

// publicAccess reads x-ms-blob-public-access.
func (c *call) publicAccess() (string, error) {
	switch v := c.header("x-ms-blob-public-access"); v {
	case "", "container", "blob":
		return v, nil
	case "true": // what clients before 2009-09-19 say
		return "container", nil
	default:
		return "", badHeader("x-ms-blob-public-access", v)
	}
}

func (c *call) stampContainer(k *container) {
	c.w.Header().Set("ETag", k.etag())
	c.w.Header().Set("Last-Modified", httpTime(k.Modified))
}

// createContainer is Create Container.
func (c *call) createContainer() error {
	public, err := c.publicAccess()
	if err != nil {
		return err
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, made, err := c.s.makeContainer(c.ctx(), c.account, containerKeys, c.container, func(k *container) {
		k.Public, k.Meta = public, meta
	})
	if err != nil {
		return err
	}
	if !made {
		return exists(containerKeys)
	}
	c.stampContainer(k)
	return c.ok(http.StatusCreated)
}

// containerProperties is Get Container Properties and Get Container Metadata.
func (c *call) containerProperties() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.stampContainer(k)
	showMetadata(h, k.Meta)
	if c.q.Get("comp") == "" {
		h.Set("x-ms-lease-status", "unlocked")
		h.Set("x-ms-lease-state", "available")
		h.Set("x-ms-has-immutability-policy", "false")
		h.Set("x-ms-has-legal-hold", "false")
		if c.version >= "2019-07-07" {
			h.Set("x-ms-default-encryption-scope", "$account-encryption-key")
			h.Set("x-ms-deny-encryption-scope-override", "false")
		}
		if k.Public != "" {
			h.Set("x-ms-blob-public-access", k.Public)
		}
	}
	return c.ok(http.StatusOK)
}

// containerConditions allows what container writes do: only dates, and no etags.
func (c *call) containerConditions() (conditions, error) {
	if v := c.header("x-ms-lease-id"); v != "" {
		return conditions{}, fail("UnsupportedHeader").with("HeaderName", "x-ms-lease-id")
	}
	cond, err := c.conditions()
	if err != nil {
		return cond, err
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if c.header(name) != "" {
			return cond, fail("UnsupportedHeader").with("HeaderName", name)
		}
	}
	return cond, nil
}

// setContainerMetadata is Set Container Metadata.
func (c *call) setContainerMetadata() error {
	cond, err := c.containerConditions()
	if err != nil {
		return err
	}
	meta, err := parseMetadata(c.r.Header)
	if err != nil {
		return err
	}
	k, err := c.s.changeContainer(c.ctx(), c.account, c.svc.kind, c.container, cond, func(k *container) { k.Meta = meta })
	if err != nil {
		return err
	}
	c.stampContainer(k)
	return c.ok(http.StatusOK)
}

// deleteContainer is Delete Container. A namesake can be made at once.
func (c *call) deleteContainer() error {
	cond, err := c.containerConditions()
	if err != nil {
		return err
	}
	if err := c.s.deleteContainer(c.ctx(), c.account, c.svc.kind, c.container, cond); err != nil {
		return err
	}
	return c.ok(http.StatusAccepted)
}

// identifiersXML is the body of Get and Set Container ACL.
type identifiersXML struct {
	XMLName     xml.Name        `xml:"SignedIdentifiers"`
	Identifiers []identifierXML `xml:"SignedIdentifier"`
}

type identifierXML struct {
	ID     string `xml:"Id"`
	Policy struct {
		Start      string `xml:"Start,omitempty"`
		Expiry     string `xml:"Expiry,omitempty"`
		Permission string `xml:"Permission,omitempty"`
	} `xml:"AccessPolicy"`
}

func (x identifiersXML) policies() ([]policy, error) {
	if len(x.Identifiers) > 5 {
		return nil, fail("InvalidXmlDocument").with("Reason", "A container has at most five stored access policies.")
	}
	var out []policy
	for _, i := range x.Identifiers {
		p := policy{
			ID: strings.TrimSpace(i.ID), Start: strings.TrimSpace(i.Policy.Start),
			Expiry: strings.TrimSpace(i.Policy.Expiry), Permission: strings.TrimSpace(i.Policy.Permission),
		}
		if p.ID == "" || len(p.ID) > 64 {
			return nil, fail("InvalidXmlNodeValue").with("XmlNodeName", "Id").with("XmlNodeValue", p.ID)
		}
		for name, v := range map[string]string{"Start": p.Start, "Expiry": p.Expiry} {
			if _, ok := parseSASTime(v); v != "" && !ok {
				return nil, fail("InvalidXmlNodeValue").with("XmlNodeName", name).with("XmlNodeValue", v)
			}
		}
		if strings.Trim(p.Permission, permissionOrder) != "" {
			return nil, fail("InvalidXmlNodeValue").with("XmlNodeName", "Permission").with("XmlNodeValue", p.Permission)
		}
		out = append(out, p)
	}
	return out, nil
}

// getACL is Get Container ACL and Get Share ACL.
func (c *call) getACL() error {
	k, err := c.home()
	if err != nil {
		return err
	}
	var x identifiersXML
	for _, p := range k.Policies {
		i := identifierXML{ID: p.ID}
		i.Policy.Start, i.Policy.Expiry, i.Policy.Permission = p.Start, p.Expiry, p.Permission
		x.Identifiers = append(x.Identifiers, i)
	}
	body, err := xml.Marshal(x)
	if err != nil {
		return err
	}
	c.stampContainer(k)
	if k.Public != "" {
		c.w.Header().Set("x-ms-blob-public-access", k.Public)
	}
	return c.xml(http.StatusOK, string(body))
}

// setACL is Set Container ACL and Set Share ACL: all policies are replaced.
func (c *call) setACL() error {
	cond, err := c.containerConditions()
	if err != nil {
		return err
	}
	public, err := c.publicAccess()
	if err != nil {
		return err
	}
	var x identifiersXML
	if c.r.ContentLength != 0 {
		if err := c.readXML(&x); err != nil {
			return err
		}
	}
	policies, err := x.policies()
	if err != nil {
		return err
	}
	k, err := c.s.changeContainer(c.ctx(), c.account, c.svc.kind, c.container, cond, func(k *container) {
		k.Public, k.Policies = public, policies
	})
	if err != nil {
		return err
	}
	c.stampContainer(k)
	return c.ok(http.StatusOK)
}
