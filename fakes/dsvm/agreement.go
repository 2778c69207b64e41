package dsvm

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
)

// agreementProperties mirror AgreementProperties of Microsoft.MarketplaceOrdering 2015-06-01.
type agreementProperties struct {
	Publisher         string `json:"publisher"`
	Product           string `json:"product"`
	Plan              string `json:"plan"`
	LicenseTextLink   string `json:"licenseTextLink"`
	PrivacyPolicyLink string `json:"privacyPolicyLink"`
	RetrieveDatetime  string `json:"retrieveDatetime"`
	Signature         string `json:"signature"`
	Accepted          bool   `json:"accepted"`
}

// marketplace declares Microsoft.MarketplaceOrdering: whether a subscription
// has accepted the terms of an image. Nothing depends on it here: nothing is sold.
func (f *Fake) marketplace() arm.Provider {
	const terms = "offerTypes/{offerType}/publishers/{publisher}/offers/{offer}/plans/{plan}/agreements/current"
	const agreements = "agreements/{publisher}/offers/{offer}/plans/{plan}"
	versions := arm.Versions{From: "2015-06-01"}
	return arm.Provider{Namespace: "Microsoft.MarketplaceOrdering", Registered: true, Queries: []arm.Query{
		{Method: http.MethodGet, Pattern: terms, Versions: versions, Do: f.getAgreement},
		{Method: http.MethodPut, Pattern: terms, Versions: versions, Do: f.putAgreement},
		{Method: http.MethodGet, Pattern: agreements, Versions: versions, Do: f.getAgreement},
		{Method: http.MethodPost, Pattern: agreements + "/sign", Versions: versions, Do: func(ctx context.Context, c arm.Call) (any, error) { return f.acceptAgreement(c, true) }},
		{Method: http.MethodPost, Pattern: agreements + "/cancel", Versions: versions, Do: func(ctx context.Context, c arm.Call) (any, error) { return f.acceptAgreement(c, false) }},
	}}
}

// plan finds the image that a path names.
func plan(c arm.Call) (platformImage, error) {
	for _, i := range platformImages() {
		if i.Plan && strings.EqualFold(i.Publisher, variable(c, "publisher")) && strings.EqualFold(i.Offer, variable(c, "offer")) && strings.EqualFold(i.SKU, variable(c, "plan")) {
			return i, nil
		}
	}
	return platformImage{}, &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: fmt.Sprintf("Offer with PublisherId: '%s', OfferId: '%s' and PlanId: '%s' cannot be found or has no terms.", variable(c, "publisher"), variable(c, "offer"), variable(c, "plan"))}
}

func (f *Fake) agreement(c arm.Call, i platformImage) (object, error) {
	accepted, err := f.acceptedPlans()
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("/subscriptions/%s/providers/Microsoft.MarketplaceOrdering/offerTypes/VirtualMachine/publishers/%s/offers/%s/plans/%s/agreements/current", variable(c, "subscription"), i.Publisher, i.Offer, i.SKU)
	signature, ok := accepted[planKey(c, i)]
	p := agreementProperties{Publisher: i.Publisher, Product: i.Offer, Plan: i.SKU, Accepted: ok, Signature: signature,
		LicenseTextLink:   "https://storelegalterms.blob.core.windows.net/legalterms/lazulite.txt",
		PrivacyPolicyLink: "http://www.microsoft.com/privacystatement/en-us/OnlineServices/Default.aspx",
		RetrieveDatetime:  f.cfg.Clock.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")}
	if signature == "" {
		p.Signature = strings.ToUpper(f.hex(32))
	}
	return object{"id": id, "name": i.SKU, "type": "Microsoft.MarketplaceOrdering/offertypes", "properties": p}, nil
}

func (f *Fake) getAgreement(_ context.Context, c arm.Call) (any, error) {
	i, err := plan(c)
	if err != nil {
		return nil, err
	}
	return f.agreement(c, i)
}

func (f *Fake) putAgreement(_ context.Context, c arm.Call) (any, error) {
	var w struct {
		Properties *agreementProperties `json:"properties"`
	}
	if err := read(c.Body, &w); err != nil {
		return nil, err
	}
	i, err := plan(c)
	switch {
	case err != nil:
		return nil, err
	case w.Properties == nil:
		return nil, missing("properties")
	case w.Properties.Signature == "":
		return nil, missing("properties.signature")
	case !strings.EqualFold(w.Properties.Publisher, i.Publisher) || !strings.EqualFold(w.Properties.Product, i.Offer) || !strings.EqualFold(w.Properties.Plan, i.SKU):
		return nil, &arm.Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: "The publisher, product and plan of the terms don't match those of the path."}
	}
	if err := f.setAccepted(planKey(c, i), w.Properties.Signature, w.Properties.Accepted); err != nil {
		return nil, err
	}
	return f.agreement(c, i)
}

func (f *Fake) acceptAgreement(c arm.Call, accepted bool) (any, error) {
	i, err := plan(c)
	if err != nil {
		return nil, err
	}
	if err := f.setAccepted(planKey(c, i), strings.ToUpper(f.hex(32)), accepted); err != nil {
		return nil, err
	}
	return f.agreement(c, i)
}

func planKey(c arm.Call, i platformImage) string {
	return strings.ToLower(strings.Join([]string{variable(c, "subscription"), i.Publisher, i.Offer, i.SKU}, "/"))
}

func (f *Fake) agreementsFile() string { return filepath.Join(f.cfg.Dir, "agreements.json") }

// acceptedPlans reads the signatures of accepted terms, by planKey.
func (f *Fake) acceptedPlans() (map[string]string, error) {
	out := map[string]string{}
	data, err := os.ReadFile(f.agreementsFile())
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	} else if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(data, &out)
}

func (f *Fake) setAccepted(key, signature string, accepted bool) error {
	f.agreements.Lock()
	defer f.agreements.Unlock()
	all, err := f.acceptedPlans()
	if err != nil {
		return err
	}
	if delete(all, key); accepted {
		all[key] = signature
	}
	return writeJSON(f.agreementsFile(), all)
}
