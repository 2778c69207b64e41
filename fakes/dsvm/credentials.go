package dsvm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"lazulite.dev/emulator/sshd"
)

// Names and passwords that Azure has refused since they were tried first by every intruder.
const (
	refusedUsers     = " administrator admin user user1 test user2 test1 user3 admin1 1 123 a actuser adm admin2 aspnet backup console david guest john owner root server sql support support_388945a0 sys test2 test3 user4 user5 "
	refusedPasswords = " abc@123 P@$$w0rd P@ssw0rd P@ssword123 Pa$$word pass@word1 Password! Password1 Password22 iloveyou! "
)

// What a Linux host's name may not hold.
const hostNameRefused = "` ~ ! @ # $ % ^ & * ( ) = + _ [ ] { } \\ | ; : ' \" , < > / ?"

func linuxUser() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`) }

func checkUser(name string) error {
	switch {
	case name == "":
		return missing("osProfile.adminUsername")
	case strings.Contains(refusedUsers, " "+strings.ToLower(name)+" "), !linuxUser().MatchString(name):
		return invalid("adminUsername", "The Admin Username specified is not allowed.")
	}
	return nil
}

func checkComputerName(name string) error {
	if utf8.RuneCountInString(name) > 64 || strings.ContainsAny(name, strings.ReplaceAll(hostNameRefused, " ", "")+" ") {
		return invalid("computerName", "Linux host name cannot exceed 64 characters in length or contain the following characters: "+hostNameRefused+".")
	}
	return nil
}

func checkPassword(p string) error {
	kinds := map[string]bool{}
	for _, r := range p {
		switch {
		case unicode.IsControl(r):
			kinds["control"] = true
		case unicode.IsUpper(r):
			kinds["upper"] = true
		case unicode.IsLower(r):
			kinds["lower"] = true
		case unicode.IsDigit(r):
			kinds["digit"] = true
		default:
			kinds["special"] = true
		}
	}
	if n := utf8.RuneCountInString(p); n < 6 || n > 72 || kinds["control"] || len(kinds) < 3 {
		return invalid("adminPassword", "The supplied password must be between 6-72 characters long and must satisfy at least 3 of password complexity requirements from the following:\r\n1) Contains an uppercase character\r\n2) Contains a lowercase character\r\n3) Contains a numeric digit\r\n4) Contains a special character\r\n5) Control characters are not allowed")
	}
	if strings.Contains(refusedPasswords, " "+p+" ") {
		return invalid("adminPassword", "The specified password is not allowed.")
	}
	return nil
}

// credentials takes the ways of logging in from osProfile.
func credentials(os *osProfile, version string, p *private) error {
	if err := checkUser(os.AdminUsername); err != nil {
		return err
	}
	p.User = os.AdminUsername
	linux := os.LinuxConfiguration
	noPassword := linux.DisablePasswordAuthentication != nil && *linux.DisablePasswordAuthentication
	for i, k := range linux.SSH.PublicKeys {
		path := "/home/" + os.AdminUsername + "/.ssh/authorized_keys"
		if k.Path != path {
			return invalid("linuxConfiguration.ssh.publicKeys.path", fmt.Sprintf("Destination path for SSH public keys is currently limited to its default value %s due to a known issue in Linux provisioning agent.", path))
		}
		key := strings.TrimSpace(k.KeyData)
		// Of 2018's formats only RSA was taken; Ed25519 came with 2023-09-01's service.
		kinds := []string{"ssh-rsa "}
		if version >= "2023-09-01" {
			kinds = append(kinds, "ssh-ed25519 ")
		}
		if sshd.CheckKey(key) != nil || !slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(key, kind) }) {
			return invalid(fmt.Sprintf("linuxConfiguration.ssh.publicKeys[%d].keyData", i), "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.")
		}
		p.Keys = append(p.Keys, key)
	}
	switch {
	case noPassword && os.AdminPassword != nil:
		return invalid("adminPassword", "Parameter 'adminPassword' is not allowed.")
	case noPassword && len(p.Keys) == 0:
		return invalid("linuxConfiguration", "Authentication using either SSH or by user name and password must be enabled in Linux profile.")
	case noPassword:
		return nil
	case os.AdminPassword == nil || *os.AdminPassword == "":
		return missing("adminPassword")
	}
	if err := checkPassword(*os.AdminPassword); err != nil {
		return err
	}
	hash, err := sshd.HashPassword(*os.AdminPassword)
	p.PasswordHash = hash
	return err
}
