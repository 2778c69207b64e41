package hdinsight

import (
	"context"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"lazulite.dev/emulator/arm"
)

// readGateway reads restAuthCredential of a configuration or of settings.
func readGateway(values map[string]string) (gatewayLogin, error) {
	const at = "properties.clusterDefinition.configurations.gateway"
	g := gatewayLogin{Enabled: strings.EqualFold(values["restAuthCredential.isEnabled"], "true"),
		Username: values["restAuthCredential.username"], Password: values["restAuthCredential.password"]}
	if !g.Enabled {
		return gatewayLogin{}, nil
	}
	if !gatewayUser().MatchString(g.Username) {
		return g, invalidDocument(at, "The cluster login user name '%s' is invalid. It must be 2 to 20 characters of letters and numbers", g.Username)
	}
	return g, checkPassword("cluster login password", g.Password, 10, 72, at)
}

func gatewayUser() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{2,20}$`) }

// Characters that a password may not have, and names that no user may.
const (
	refusedInPassword = "'\"`\\"
	refusedUsers      = " administrator admin root hdfs yarn spark hive user test guest owner server support sys "
)

func sshUser() *regexp.Regexp { return regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`) }

func checkSSHUser(name, at string) error {
	if !sshUser().MatchString(name) || strings.Contains(refusedUsers, " "+strings.ToLower(name)+" ") {
		return invalidDocument(at+".username", "The SSH user name '%s' is invalid or not allowed", name)
	}
	return nil
}

// checkPassword is the policy of HDInsight: length, and of each kind of character one.
func checkPassword(what, p string, least, most int, at string) error {
	var upper, lower, digit, special, refused bool
	for _, r := range p {
		switch {
		case unicode.IsControl(r) || strings.ContainsRune(refusedInPassword, r):
			refused = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsLower(r):
			lower = true
		case unicode.IsDigit(r):
			digit = true
		default:
			special = true
		}
	}
	if n := utf8.RuneCountInString(p); n < least || n > most || refused || !upper || !lower || !digit || !special {
		return invalidDocument(at, "The %s does not meet the policy: it must be %d to %d characters long and contain at least one digit, one uppercase and one lowercase letter and one non-alphanumeric character (except characters %s)",
			what, least, most, "single quote, double quote, backquote and backslash")
	}
	return nil
}

// refuseRotation is POST rotatediskencryptionkey: no cluster has a key of its owner's.
func (f *Fake) refuseRotation(_ context.Context, _ arm.View, _ arm.Call, r *arm.Resource) error {
	if _, _, err := ready(r); err != nil {
		return err
	}
	return badRequest("Disk encryption with a customer-managed key is not enabled on the cluster '%s'.", r.ID.Name())
}
