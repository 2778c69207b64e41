package hdinsight

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
)

// getGatewaySettings is POST getGatewaySettings, which shows the password, as the service does.
func (f *Fake) getGatewaySettings(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	return 0, n.Gateway.wire(), err
}

func (g gatewayLogin) wire() map[string]string {
	return map[string]string{"restAuthCredential.isEnabled": strconv.FormatBool(g.Enabled), "restAuthCredential.username": g.Username, "restAuthCredential.password": g.Password}
}

// beginGateway is POST updateGatewaySettings.
func (f *Fake) beginGateway(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	_, n, err := ready(r)
	if err != nil {
		return err
	}
	values, err := plain(c.Body)
	if err != nil {
		return err
	}
	login, err := readGateway(values)
	if err != nil {
		return err
	}
	if login.Enabled && strings.EqualFold(login.Username, n.User) {
		return invalidDocument("restAuthCredential.username", "The cluster login user name '%s' must be different from the SSH user name", login.Username)
	}
	n.Gateway = login
	n.Work = &work{Kind: "gateway"}
	return n.store(r)
}

// plain reads an object of strings and booleans.
func plain(body json.RawMessage) (map[string]string, error) {
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, badRequest("The request body is missing or is no object.")
	}
	out := map[string]string{}
	for k, v := range all {
		switch t := v.(type) {
		case nil:
		case string:
			out[k] = t
		case bool:
			out[k] = strconv.FormatBool(t)
		default:
			return nil, badRequest("The value of '%s' is of a wrong type.", k)
		}
	}
	return out, nil
}

// configurations of a cluster, by name.
func (n notes) configurations() map[string]map[string]string {
	out := maps.Clone(n.Sites)
	if out == nil {
		out = map[string]map[string]string{}
	}
	out["gateway"] = n.Gateway.wire()
	core := map[string]string{}
	for i, s := range n.Storage {
		if i == 0 {
			core["fs.defaultFS"] = "wasb://" + s.Container + "@" + s.Account
		}
		core["fs.azure.account.key."+s.Account] = s.Key
	}
	out["core-site"] = core
	return out
}

// listConfigurations is POST configurations.
func (f *Fake) listConfigurations(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	return 0, map[string]any{"configurations": n.configurations()}, err
}

// getConfiguration is GET configurations/{configuration}.
func (f *Fake) getConfiguration(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) (int, any, error) {
	n, err := notesOf(r)
	if err != nil {
		return 0, nil, err
	}
	for name, values := range n.configurations() {
		if strings.EqualFold(name, c.Vars["configuration"]) {
			return 0, values, nil
		}
	}
	return 0, nil, notFound("The configuration '%s' was not found on the cluster '%s'.", c.Vars["configuration"], r.ID.Name())
}

// beginConfiguration is POST configurations/{configuration}, by which the gateway's login alone can be changed.
func (f *Fake) beginConfiguration(ctx context.Context, v arm.View, c arm.Call, r *arm.Resource) error {
	if name := c.Vars["configuration"]; !strings.EqualFold(name, "gateway") {
		return badRequest("The configuration '%s' can't be updated: only 'gateway' can.", name)
	}
	return f.beginGateway(ctx, v, c, r)
}
