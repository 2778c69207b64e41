package blob

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// listContainers is List Containers and List Shares.
func (c *call) listContainers() error {
	after, limit, include, err := c.page()
	if err != nil {
		return err
	}
	base := c.svc.kind + c.account.ID + "/"
	from := ""
	if after != "" {
		from = base + after
	}
	docs, err := c.s.cfg.Store.List(c.ctx(), base+c.q.Get("prefix"), from, limit+1)
	if err != nil {
		return err
	}
	next := ""
	if len(docs) > limit {
		docs = docs[:limit]
		next = strings.TrimPrefix(docs[limit-1].Key, base)
	}
	list, one := "Containers", "Container"
	if c.svc == fileService {
		list, one = "Shares", "Share"
	}
	var b strings.Builder
	b.WriteString("<EnumerationResults")
	attribute(&b, "ServiceEndpoint", c.base)
	b.WriteString(">")
	c.echoParameters(&b)
	b.WriteString("<" + list + ">")
	for _, d := range docs {
		k := container{rev: d.Rev}
		if err := decode(d.Key, d.Value, &k); err != nil {
			return err
		}
		b.WriteString("<" + one + ">")
		element(&b, "Name", k.Name)
		b.WriteString("<Properties>")
		element(&b, "Last-Modified", httpTime(k.Modified))
		element(&b, "Etag", k.etag())
		if c.svc == fileService {
			element(&b, "Quota", strconv.Itoa(k.quota()))
		} else {
			element(&b, "LeaseStatus", "unlocked")
			element(&b, "LeaseState", "available")
			if k.Public != "" {
				element(&b, "PublicAccess", k.Public)
			}
			element(&b, "HasImmutabilityPolicy", "false")
			element(&b, "HasLegalHold", "false")
		}
		b.WriteString("</Properties>")
		if include["metadata"] {
			metadataElement(&b, k.Meta)
		}
		b.WriteString("</" + one + ">")
	}
	b.WriteString("</" + list + ">")
	element(&b, "NextMarker", marker(next))
	b.WriteString("</EnumerationResults>")
	return c.xml(http.StatusOK, b.String())
}

// servicePropertiesXML is the body of Get and Set Blob Service Properties.
// They are kept and shown; nothing else heeds them.
type servicePropertiesXML struct {
	XMLName               xml.Name    `xml:"StorageServiceProperties"`
	Logging               *loggingXML `xml:"Logging"`
	HourMetrics           *metricsXML `xml:"HourMetrics"`
	MinuteMetrics         *metricsXML `xml:"MinuteMetrics"`
	Cors                  *corsXML    `xml:"Cors"`
	DefaultServiceVersion string      `xml:"DefaultServiceVersion,omitempty"`
	DeleteRetentionPolicy *retainXML  `xml:"DeleteRetentionPolicy"`
	StaticWebsite         *websiteXML `xml:"StaticWebsite"`
}

type retainXML struct {
	Enabled              bool  `xml:"Enabled"`
	Days                 int   `xml:"Days,omitempty"`
	AllowPermanentDelete *bool `xml:"AllowPermanentDelete"`
}

type loggingXML struct {
	Version         string    `xml:"Version"`
	Delete          bool      `xml:"Delete"`
	Read            bool      `xml:"Read"`
	Write           bool      `xml:"Write"`
	RetentionPolicy retainXML `xml:"RetentionPolicy"`
}

type metricsXML struct {
	Version         string    `xml:"Version"`
	Enabled         bool      `xml:"Enabled"`
	IncludeAPIs     *bool     `xml:"IncludeAPIs"`
	RetentionPolicy retainXML `xml:"RetentionPolicy"`
}

type corsXML struct {
	Rules []struct {
		AllowedMethods  string `xml:"AllowedMethods"`
		AllowedOrigins  string `xml:"AllowedOrigins"`
		AllowedHeaders  string `xml:"AllowedHeaders"`
		ExposedHeaders  string `xml:"ExposedHeaders"`
		MaxAgeInSeconds int    `xml:"MaxAgeInSeconds"`
	} `xml:"CorsRule"`
}

type websiteXML struct {
	Enabled                  bool   `xml:"Enabled"`
	IndexDocument            string `xml:"IndexDocument,omitempty"`
	ErrorDocument404Path     string `xml:"ErrorDocument404Path,omitempty"`
	DefaultIndexDocumentPath string `xml:"DefaultIndexDocumentPath,omitempty"`
}

func defaultServiceProperties() servicePropertiesXML {
	return servicePropertiesXML{
		Logging:               &loggingXML{Version: "1.0"},
		HourMetrics:           &metricsXML{Version: "1.0"},
		MinuteMetrics:         &metricsXML{Version: "1.0"},
		Cors:                  &corsXML{},
		DeleteRetentionPolicy: &retainXML{},
		StaticWebsite:         &websiteXML{},
	}
}

func (c *call) serviceProperties() (servicePropertiesXML, error) {
	x := defaultServiceProperties()
	a, err := c.s.account(c.ctx(), c.account.Name)
	if err != nil || a.Service == "" {
		return x, err
	}
	x = servicePropertiesXML{}
	return x, decodeXML([]byte(a.Service), &x)
}

// getService is Get Blob Service Properties.
func (c *call) getService() error {
	x, err := c.serviceProperties()
	if err != nil {
		return err
	}
	body, err := xml.Marshal(x)
	if err != nil {
		return err
	}
	return c.xml(http.StatusOK, string(body))
}

// setService is Set Blob Service Properties: a part that is absent stays as it is.
func (c *call) setService() error {
	x, err := c.serviceProperties()
	if err != nil {
		return err
	}
	cors := x.Cors
	x.Cors = nil // a list is replaced, not added to
	if err := c.readXML(&x); err != nil {
		return err
	}
	if x.Cors == nil {
		x.Cors = cors
	}
	switch {
	case x.DefaultServiceVersion != "" && !validVersion(x.DefaultServiceVersion):
		return fail("InvalidXmlNodeValue").with("XmlNodeName", "DefaultServiceVersion").with("XmlNodeValue", x.DefaultServiceVersion)
	case len(x.Cors.Rules) > 5:
		return fail("InvalidXmlDocument").with("Reason", "There are at most five CORS rules.")
	}
	body, err := xml.Marshal(x)
	if err != nil {
		return err
	}
	err = c.s.changeAccount(c.ctx(), c.account.Name, func(a *account) { a.Service = string(body) })
	if err != nil {
		return err
	}
	return c.ok(http.StatusAccepted)
}

// accountInfo is Get Account Information; accounts of workspaces are of this sort.
func (c *call) accountInfo() error {
	h := c.w.Header()
	h.Set("x-ms-sku-name", "Standard_LRS")
	h.Set("x-ms-account-kind", "StorageV2")
	h.Set("x-ms-is-hns-enabled", "false")
	return c.ok(http.StatusOK)
}
