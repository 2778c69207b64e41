package dsvm

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"lazulite.dev/emulator/sshd"
)

// cloudInitTask is the name of the task that does what custom data says.
const cloudInitTask = "cloud-init"

// maxCustomData is how long custom data may be, decoded.
const maxCustomData = 65535

// customData decodes osProfile.customData.
func customData(text string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(data) > maxCustomData {
		return nil, invalid("customData", "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 characters.")
	}
	return data, nil
}

// firstBoot does what the machine's custom data says, at its first boot alone:
// it is begun here and goes on while the machine is already up, as in Azure.
func (m *machine) firstBoot(f machineFile) error {
	if len(f.CustomData) == 0 {
		return nil
	}
	dir := m.agentDir(cloudInitTask)
	if _, err := m.agentFile(m.agentDir(), "CustomData", f.CustomData, 0o600); err != nil {
		return err
	}
	plan := cloudPlan{machine: m, dir: dir}
	if err := plan.read("", f.CustomData); err != nil {
		// As on a real machine, bad custom data is its own trouble: it boots all the same.
		m.console("cloud-init: %v", err)
	}
	// Whatever comes of it, it is not done twice.
	if err := m.save(func(f *machineFile) { f.CustomData = nil }); err != nil {
		return err
	}
	if err := plan.users(); err != nil {
		m.console("cloud-init: %v", err)
	}
	script, err := plan.script()
	if err != nil {
		return err
	}
	file, err := m.agentFile(dir, "boot.sh", []byte(script), 0o700)
	if err != nil {
		return err
	}
	return m.launch(cloudInitTask, dir, m.serial(), "/bin/sh", file)
}

// cloudPlan is what custom data asks for, in the order of cloud-init's stages.
type cloudPlan struct {
	machine *machine
	dir     string
	files   []cloudFile
	people  []cloudUser
	steps   []string // of the shell: boot commands, then run commands and scripts
	boot    []string
	left    []string // modules that are not run here
}

type cloudFile struct {
	Path, Content, Encoding, Permissions string
	Append                               bool
}

type cloudUser struct {
	Name       string
	Passwd     string
	PlainText  string   `yaml:"plain_text_passwd"`
	Keys       []string `yaml:"ssh_authorized_keys"`
	KeysDashed []string `yaml:"ssh-authorized-keys"`
}

// cloudConfig is as much of #cloud-config as is done here.
type cloudConfig struct {
	WriteFiles []cloudFile `yaml:"write_files"`
	RunCmd     []yaml.Node `yaml:"runcmd"`
	BootCmd    []yaml.Node `yaml:"bootcmd"`
	Users      []yaml.Node `yaml:"users"`
	Keys       []string    `yaml:"ssh_authorized_keys"`
}

// doneModules are cloudConfig's keys, and those that ask for nothing here.
var doneModules = []string{"write_files", "runcmd", "bootcmd", "users", "ssh_authorized_keys", "output", "final_message"}

// read takes one part of the custom data, of a MIME type or by how it begins.
func (c *cloudPlan) read(kind string, data []byte) error {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("the custom data is no gzip: %w", err)
		}
		plain, err := io.ReadAll(io.LimitReader(z, 16<<20))
		if err != nil {
			return fmt.Errorf("the custom data is no gzip: %w", err)
		}
		data = plain
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	switch head := strings.TrimSpace(string(first)); {
	case kind == "text/x-shellscript" || strings.HasPrefix(head, "#!"):
		return c.shellScript(data)
	case kind == "text/cloud-config" || strings.HasPrefix(head, "#cloud-config"):
		return c.config(data)
	case strings.HasPrefix(strings.ToLower(head), "content-type:") || strings.HasPrefix(strings.ToLower(head), "mime-version:"):
		return c.multipart(data)
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	}
	return fmt.Errorf("cloud-init: Unhandled non-multipart (text/x-not-multipart) userdata: '%.20s...'", first)
}

func (c *cloudPlan) shellScript(data []byte) error {
	name := fmt.Sprintf("part-%03d", len(c.steps)+1)
	file, err := c.machine.agentFile(filepath.Join(c.dir, "scripts"), name, data, 0o700)
	c.steps = append(c.steps, quote(file))
	return err
}

func (c *cloudPlan) multipart(data []byte) error {
	message, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("the custom data is no MIME message: %w", err)
	}
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("the custom data is no MIME message: %w", err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		body, err := io.ReadAll(message.Body)
		if err != nil {
			return err
		}
		return c.read(kind, body)
	}
	for parts := multipart.NewReader(message.Body, params["boundary"]); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the custom data's parts: %w", err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("the custom data's parts: %w", err)
		}
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
			if body, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(bytes.Join(bytes.Fields(body), nil)))); err != nil {
				return fmt.Errorf("the custom data's parts: %w", err)
			}
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err := c.read(kind, body); err != nil {
			return err
		}
	}
}

func (c *cloudPlan) config(data []byte) error {
	var all map[string]yaml.Node
	var cfg cloudConfig
	if err := errors.Join(yaml.Unmarshal(data, &all), yaml.Unmarshal(data, &cfg)); err != nil {
		return fmt.Errorf("cloud-init: Failed loading yaml blob. Invalid format: %w", err)
	}
	for name := range all {
		if !slices.Contains(doneModules, name) {
			c.left = append(c.left, name)
		}
	}
	slices.Sort(c.left)
	c.files = append(c.files, cfg.WriteFiles...)
	if len(cfg.Keys) > 0 {
		c.people = append(c.people, cloudUser{Name: c.machine.snapshot().User, Keys: cfg.Keys})
	}
	for _, n := range cfg.Users {
		var u cloudUser
		if n.Kind == yaml.ScalarNode { // "default" is the one that Azure made
			if n.Value != "default" {
				u.Name = n.Value
				c.people = append(c.people, u)
			}
			continue
		}
		if err := n.Decode(&u); err != nil {
			return fmt.Errorf("users: %w", err)
		}
		c.people = append(c.people, u)
	}
	for _, list := range []struct {
		from []yaml.Node
		to   *[]string
	}{{cfg.BootCmd, &c.boot}, {cfg.RunCmd, &c.steps}} {
		for _, n := range list.from {
			step, err := shellStep(n)
			if err != nil {
				return err
			}
			*list.to = append(*list.to, step)
		}
	}
	return nil
}

// shellStep is a run command: a line for the shell, or a list of words.
func shellStep(n yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil
	}
	var words []string
	if err := n.Decode(&words); err != nil {
		return "", fmt.Errorf("runcmd: %w", err)
	}
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " "), nil
}

// users makes the logins that are asked for.
func (c *cloudPlan) users() error {
	var errs []error
	for _, u := range c.people {
		var hash string
		if u.PlainText != "" {
			var err error
			if hash, err = sshd.HashPassword(u.PlainText); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if u.Passwd != "" && hash == "" {
			c.left = append(c.left, "users.passwd of "+u.Name+" (a hash that the machine's SSH server can't check)")
		}
		if err := c.machine.setUser(u.Name, hash, append(u.Keys, u.KeysDashed...)); err != nil {
			errs = append(errs, fmt.Errorf("users: %w", err))
		}
	}
	return errors.Join(errs...)
}

// script is all that runs inside the machine, in one shell as cloud-init's own: a step that fails does not end it.
func (c *cloudPlan) script() (string, error) {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, name := range c.left {
		b.WriteString("echo " + quote("cloud-init: "+name+" is not done here") + "\n")
	}
	for _, s := range c.boot {
		b.WriteString(s + "\n")
	}
	for i, f := range c.files {
		content, err := f.decode()
		if err != nil {
			b.WriteString("echo " + quote("cloud-init: write_files: "+f.Path+": "+err.Error()) + "\n")
			continue
		}
		from, err := c.machine.agentFile(filepath.Join(c.dir, "files"), strconv.Itoa(i), content, 0o600)
		if err != nil {
			return "", err
		}
		b.WriteString(f.place(from, c.machine))
	}
	b.WriteString("cd /\n")
	for _, s := range c.steps {
		b.WriteString(s + "\n")
	}
	b.WriteString("echo 'Cloud-init finished.'\n")
	return b.String(), nil
}

// place is the shell's way of putting a file where it belongs. A path in the
// home of one of the machine's users is in that home on the disk.
func (f cloudFile) place(from string, m *machine) string {
	to := f.Path
	if rest, ok := strings.CutPrefix(to, "/home/"); ok {
		if user, _, _ := strings.Cut(rest, "/"); m.snapshot().known(user) {
			to = filepath.Join(m.dir, "home", rest)
		}
	}
	op, mode := ">", f.Permissions
	if f.Append {
		op = ">>"
	}
	if mode == "" {
		mode = "0644"
	}
	return fmt.Sprintf("mkdir -p %s && cat %s %s %s && chmod %s %s\n", quote(filepath.Dir(to)), quote(from), op, quote(to), quote(mode), quote(to))
}

func (f cloudFile) decode() ([]byte, error) {
	data := []byte(f.Content)
	for _, kind := range encodings(f.Encoding) {
		var err error
		switch kind {
		case "base64":
			data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
		case "gzip":
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
				data, err = io.ReadAll(io.LimitReader(z, 16<<20))
			}
		default:
			err = fmt.Errorf("unknown encoding %q", f.Encoding)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.Path == "" || !filepath.IsAbs(f.Path) {
		return nil, errors.New("the path must be absolute")
	}
	return data, nil
}

// encodings are the steps of undoing an encoding of write_files.
func encodings(name string) []string {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "text/plain":
		return nil
	case "b64", "base64":
		return []string{"base64"}
	case "gz", "gzip":
		return []string{"gzip"}
	case "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		return []string{"base64", "gzip"}
	}
	return []string{name}
}

// quote makes one word of the shell's.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// removeAgentFiles forgets what the agent kept, for a machine that is to boot as new.
func (m *machine) removeAgentFiles() error { return os.RemoveAll(m.agentDir()) }
