package arm

import (
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// route finds what the path names. The order of its checks is the real
// service's: caller, subscription, provider, type, api-version, method, and
// then what the verb itself asks for.
func (x *exchange) route() error {
	x.readQuery()
	if err := x.split(); err != nil {
		return err
	}
	if len(x.path) == 2 && fold(x.path[0]) == "metadata" && fold(x.path[1]) == "endpoints" {
		return x.metadata()
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	// The common case: what exists needs no route to it.
	if x.r.Method == http.MethodGet {
		if ent := x.e.index.get(x.folded); ent != nil && !ent.typ.lacks(http.MethodGet) {
			if err := x.subscription(ent.res.ID.Subscription()); err != nil {
				return err
			}
			if err := x.typeVersion(ent.typ, ent.res.ID.ResourceGroup()); err != nil {
				return err
			}
			return x.show(ent)
		}
	}
	if len(x.path) == 0 {
		return errNoRoute()
	}
	if x.r.Method == http.MethodGet {
		if rec := x.e.operations.at(x.folded); rec != nil {
			return x.poll(rec)
		}
	}
	switch fold(x.path[0]) {
	case "subscriptions":
		return x.underSubscriptions()
	case "tenants":
		if len(x.path) == 1 {
			return x.only(x.tenants, http.MethodGet)
		}
	case "providers":
		return x.underTenantProviders()
	}
	return errNoRoute()
}

// only calls f for the methods, after a check of the api-version.
func (x *exchange) only(f func() error, methods ...string) error {
	if err := x.coreVersion(); err != nil {
		return err
	}
	for _, m := range methods {
		if x.r.Method == m {
			return f()
		}
	}
	return errMethod(x.r.Method, methods)
}

func (x *exchange) underSubscriptions() error {
	if len(x.path) == 1 {
		return x.only(x.listSubscriptions, http.MethodGet)
	}
	sub := x.path[1]
	if err := x.subscription(sub); err != nil {
		return err
	}
	if len(x.path) == 2 {
		return x.only(x.getSubscription, http.MethodGet)
	}
	rest := x.path[3:]
	switch fold(x.path[2]) {
	case "locations":
		if len(rest) == 0 {
			return x.only(x.listLocations, http.MethodGet)
		}
	case "resources":
		if len(rest) == 0 {
			return x.only(func() error { return x.listResources("/subscriptions/" + fold(sub) + "/") }, http.MethodGet)
		}
	case "providers":
		switch {
		case len(rest) == 0:
			return x.only(x.listProviders, http.MethodGet)
		case len(rest) == 1:
			return x.only(func() error { return x.getProvider(rest[0]) }, http.MethodGet)
		case len(rest) == 2 && (fold(rest[1]) == "register" || fold(rest[1]) == "unregister"):
			return x.only(func() error { return x.register(rest[0], fold(rest[1]) == "register") }, http.MethodPost)
		}
		return x.underProvider(ID{"/subscriptions/" + sub}, rest)
	case "resourcegroups":
		return x.underGroups(ID{"/subscriptions/" + sub}, rest)
	}
	return errNoRoute()
}

func (x *exchange) underGroups(sub ID, rest []string) error {
	group := x.e.groupType()
	if len(rest) == 0 {
		return x.only(func() error { return x.listType(group, sub.Key()+"/", "") }, http.MethodGet)
	}
	id := ID{sub.s + "/resourceGroups/" + rest[0]}
	if len(rest) == 1 {
		return x.resource(group, id, nil)
	}
	switch fold(rest[1]) {
	case "resources":
		if len(rest) == 2 {
			return x.only(func() error {
				if err := x.group(id); err != nil {
					return err
				}
				return x.listResources(id.Key() + "/")
			}, http.MethodGet)
		}
	case "providers":
		if len(rest) > 2 {
			return x.underProvider(id, rest[2:])
		}
	case "deployments":
		// resources.json of 2018 has a deployment's operations here, without the provider.
		if len(rest) > 3 && fold(rest[3]) == "operations" {
			return x.underProvider(id, append([]string{resourcesNamespace}, rest[1:]...))
		}
	}
	return errNoRoute()
}

// underProvider goes down the types below scope: a subscription or a group.
func (x *exchange) underProvider(scope ID, segs []string) error {
	p := x.e.catalog.providers[fold(segs[0])]
	if p == nil {
		return errNamespace(segs[0])
	}
	if len(segs) == 1 {
		return errNoRoute()
	}
	rest := segs[1:]
	if scope.ResourceGroup() == "" {
		if done, err := x.queries(p, scope, rest); done {
			return err
		}
	}
	var t *typeInfo
	id, short := scope, ""
	for len(rest) > 0 {
		name := strings.TrimPrefix(short+"/"+fold(rest[0]), "/")
		child := p.types[name]
		if child == nil {
			break
		}
		if len(rest) == 1 {
			return x.collection(child, scope, id, t != nil)
		}
		if t == nil {
			id = ID{id.s + "/providers/" + segs[0] + "/" + rest[0] + "/" + rest[1]}
		} else {
			id = ID{id.s + "/" + rest[0] + "/" + rest[1]}
		}
		t, short, rest = child, name, rest[2:]
	}
	switch {
	case t == nil:
		return x.unknownType(p, rest[0])
	case len(rest) > 1 && fold(rest[0]) == "providers":
		return x.onResource(rest[1:])
	case scope.ResourceGroup() == "" && t.kind != kindDeployment:
		// The other types live in resource groups.
		return x.unknownType(p, t.short)
	}
	return x.resource(t, id, rest)
}

// onResource is for what another provider keeps on a resource (role assignments,
// locks, diagnostic settings): there is none that does so.
func (x *exchange) onResource(segs []string) error {
	p := x.e.catalog.providers[fold(segs[0])]
	if p == nil {
		return errNamespace(segs[0])
	}
	if len(segs) == 1 {
		return errNoRoute()
	}
	return x.unknownType(p, segs[1])
}

func (x *exchange) unknownType(p *providerInfo, short string) error {
	if err := x.versionFormat(coreVersions.list()); err != nil {
		return err
	}
	return errType(p.Namespace, short, x.version)
}

// queries answers a read at subscription or tenant level that is no resource.
func (x *exchange) queries(p *providerInfo, scope ID, rest []string) (done bool, err error) {
	var allow []string
	for _, q := range p.queries {
		vars, ok := match(q.segs, rest)
		if !ok {
			continue
		}
		if !strings.EqualFold(q.value.Method, x.r.Method) {
			allow = append(allow, q.value.Method)
			continue
		}
		if err := x.versionFormat(q.value.Versions.list()); err != nil {
			return true, err
		}
		if !q.value.Versions.Contains(x.version) {
			return true, errVersionFormat(x.version, q.value.Versions.list())
		}
		body, err := x.body()
		if err != nil {
			return true, err
		}
		answer, err := q.value.Do(x.r.Context(), x.call(body, vars, scope))
		if err != nil {
			return true, err
		}
		x.send(http.StatusOK, answer)
		return true, nil
	}
	if allow != nil {
		return true, errMethod(x.r.Method, allow)
	}
	return false, nil
}

func (x *exchange) underTenantProviders() error {
	switch len(x.path) {
	case 1:
		return x.only(x.listProviders, http.MethodGet, http.MethodPost)
	case 2:
		return x.only(func() error { return x.getProvider(x.path[1]) }, http.MethodGet)
	}
	p := x.e.catalog.providers[fold(x.path[1])]
	if p == nil {
		return errNamespace(x.path[1])
	}
	if done, err := x.queries(p, ID{}, x.path[2:]); done {
		return err
	}
	return x.unknownType(p, x.path[2])
}

// collection lists a type at subscription, group or parent level.
func (x *exchange) collection(t *typeInfo, scope, parent ID, nested bool) error {
	if err := x.typeVersion(t, scope.ResourceGroup()); err != nil {
		return err
	}
	if x.r.Method != http.MethodGet || t.lacks("LIST") {
		return errMethod(x.r.Method, t.allow(true))
	}
	if scope.ResourceGroup() != "" {
		if err := x.group(scope); err != nil {
			return err
		}
	}
	prefix := scope.Key() + "/"
	if nested {
		holder := x.e.index.get(parent.Key())
		if holder == nil {
			return errParent(parent.Name())
		}
		if t.Part != "" {
			return x.listParts(t, holder)
		}
		prefix = parent.Key() + "/"
	}
	return x.listType(t, prefix, parent.Key())
}

// resource answers a verb on one resource, or on something below it.
func (x *exchange) resource(t *typeInfo, id ID, rest []string) error {
	if err := x.typeVersion(t, id.ResourceGroup()); err != nil {
		return err
	}
	method := x.r.Method
	if len(rest) > 0 {
		return x.below(t, id, rest)
	}
	known := method == http.MethodGet || method == http.MethodHead || method == http.MethodPut || method == http.MethodPatch || method == http.MethodDelete
	if !known || t.lacks(method) {
		return errMethod(method, t.allow(false))
	}
	if err := x.ancestors(t, id); err != nil {
		return err
	}
	if t.Part != "" {
		return x.part(t, id)
	}
	switch method {
	case http.MethodPut, http.MethodPatch:
		return x.write(t, id)
	case http.MethodDelete:
		return x.remove(t, id)
	}
	ent := x.e.index.get(id.Key())
	if ent == nil {
		return t.notFound(id)
	}
	if method == http.MethodHead {
		x.w.Header()["Etag"] = []string{ent.res.ETag}
		x.send(http.StatusNoContent, nil)
		return nil
	}
	return x.show(ent)
}

// ancestors checks group, parent and, for what changes something, the registration.
func (x *exchange) ancestors(t *typeInfo, id ID) error {
	if t.kind == kindGroup {
		return nil
	}
	if err := x.group(id); err != nil {
		return err
	}
	if strings.Contains(t.short, "/") {
		if parent := id.Parent(); x.e.index.get(parent.Key()) == nil {
			return errParent(parent.Name())
		}
	}
	switch x.r.Method {
	case http.MethodPut, http.MethodPatch, http.MethodPost:
		return x.e.registered(t.provider, id.Subscription())
	}
	return nil
}

// below is an action, a read, or nothing.
func (x *exchange) below(t *typeInfo, id ID, rest []string) error {
	action, actionName, actionVars, isAction := t.action(x.r.Method, rest)
	read, _, readVars, isRead := t.read(rest)
	isRead = isRead && x.r.Method == http.MethodGet
	if !isRead && !isAction {
		if allow := t.allowBelow(rest); allow != nil {
			return errMethod(x.r.Method, allow)
		}
		return errType(t.provider.Namespace, t.short+"/"+rest[0], x.version)
	}
	if err := x.ancestors(t, id); err != nil {
		return err
	}
	ent := x.e.index.get(id.Key())
	if isAction {
		if ent == nil && !action.Absent {
			return t.notFound(id)
		}
		return x.act(t, id, action, actionName, actionVars)
	}
	if ent == nil {
		return t.notFound(id)
	}
	status, body, err := read(x.r.Context(), engineView{x.e}, x.call(nil, readVars, id), ent.res.clone())
	if err != nil {
		return err
	}
	if status == 0 {
		status = http.StatusOK
	}
	x.send(status, body)
	return nil
}

// allowBelow are the methods of a path below a resource; nil if there is no such path.
func (t *typeInfo) allowBelow(rest []string) []string {
	var allow []string
	if _, _, _, ok := t.read(rest); ok {
		allow = append(allow, http.MethodGet)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, _, _, ok := t.action(method, rest); ok {
			allow = append(allow, method)
		}
	}
	return allow
}

// subscription checks that the engine has it.
func (x *exchange) subscription(id string) error {
	if _, ok := x.e.subscriptions[fold(id)]; ok {
		return nil
	}
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return errSubscriptionFormat(id)
	}
	return errSubscription(id)
}

func (x *exchange) group(id ID) error {
	g := id.ResourceGroup()
	if g == "" {
		return nil
	}
	if x.e.index.get(ID{"/subscriptions/" + id.Subscription() + "/resourceGroups/" + g}.Key()) == nil {
		return errGroup(g)
	}
	return nil
}

func (x *exchange) versionFormat(supported []string) error {
	if x.version == "" {
		return errVersionMissing()
	}
	if !versionFormat.MatchString(x.version) {
		return errVersionFormat(x.version, supported)
	}
	return nil
}

func (x *exchange) coreVersion() error {
	if err := x.versionFormat(coreVersions.list()); err != nil {
		return err
	}
	if !coreVersions.Contains(x.version) {
		return errVersionFormat(x.version, coreVersions.list())
	}
	return nil
}

// typeVersion names the group's location in its refusal, as the resource manager routes by that.
func (x *exchange) typeVersion(t *typeInfo, group string) error {
	if t.kind != kindPlain {
		return x.coreVersion()
	}
	if err := x.versionFormat(t.Versions.list()); err != nil {
		return err
	}
	if t.Versions.Contains(x.version) {
		return nil
	}
	location := ""
	if group != "" {
		if g := x.e.index.get(ID{"/subscriptions/" + x.path[1] + "/resourceGroups/" + group}.Key()); g != nil {
			location = normalLocation(g.res.Location)
		}
	}
	return errVersionUnsupported(t, x.version, location)
}
