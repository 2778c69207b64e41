package dsvm

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"lazulite.dev/emulator/arm"
)

//go:embed runcommands.json
var runCommandsJSON []byte

// runCommandDocument mirrors RunCommandDocument of Microsoft.Compute 2018-10-01.
type runCommandDocument struct {
	Schema      string                `json:"$schema"`
	ID          string                `json:"id"`
	OSType      string                `json:"osType"`
	Label       string                `json:"label"`
	Description string                `json:"description"`
	Script      []string              `json:"script,omitempty"`
	Parameters  []runCommandParameter `json:"parameters,omitempty"`
}

type runCommandParameter struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Default  string `json:"defaultValue,omitempty"`
	Required bool   `json:"required"`
}

const runCommandSchema = "http://schema.management.azure.com/schemas/2016-11-17/runcommands.json"

func runCommandDocuments() ([]runCommandDocument, error) {
	var all []runCommandDocument
	if err := json.Unmarshal(runCommandsJSON, &all); err != nil {
		return nil, fmt.Errorf("dsvm: runcommands.json: %w", err)
	}
	for i := range all {
		all[i].Schema = runCommandSchema
	}
	return all, nil
}

// listRunCommands is GET locations/{location}/runCommands: without scripts and parameters.
func (f *Fake) listRunCommands(_ context.Context, c arm.Call) (any, error) {
	if _, err := f.location(c, "locations/runCommands"); err != nil {
		return nil, err
	}
	all, err := runCommandDocuments()
	for i := range all {
		all[i].Script, all[i].Parameters = nil, nil
	}
	return object{"value": all}, err
}

// getRunCommand is GET locations/{location}/runCommands/{commandId}.
func (f *Fake) getRunCommand(_ context.Context, c arm.Call) (any, error) {
	if _, err := f.location(c, "locations/runCommands"); err != nil {
		return nil, err
	}
	return findRunCommand(variable(c, "command"))
}

func findRunCommand(id string) (runCommandDocument, error) {
	all, err := runCommandDocuments()
	if err != nil {
		return runCommandDocument{}, err
	}
	for _, d := range all {
		if strings.EqualFold(d.ID, id) {
			return d, nil
		}
	}
	return runCommandDocument{}, &arm.Error{Status: http.StatusNotFound, Code: "NotFound", Message: fmt.Sprintf("The entity %s was not found.", id)}
}

// command is a run command that is under way.
type command struct {
	Number int
	Script string
	Args   []string `json:",omitempty"`
	Env    []string `json:",omitempty"`
	Epoch  string   // of the Fake that began it
}

// beginRunCommand is POST {vm}/runCommand.
func (f *Fake) beginRunCommand(_ context.Context, _ arm.View, c arm.Call, r *arm.Resource) error {
	p, err := privateOf(r)
	if err != nil {
		return err
	}
	var input struct {
		CommandID  string   `json:"commandId"`
		Script     []string `json:"script"`
		Parameters []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"parameters"`
	}
	if err := read(c.Body, &input); err != nil {
		return err
	}
	if input.CommandID == "" {
		return missing("runCommandInput.commandId")
	}
	doc, err := findRunCommand(input.CommandID)
	if err != nil {
		return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidParameter", Target: "commandId", Message: fmt.Sprintf("The command id '%s' is invalid.", input.CommandID)}
	}
	if doc.OSType != "Linux" {
		return &arm.Error{Status: http.StatusBadRequest, Code: "InvalidParameter", Target: "commandId", Message: fmt.Sprintf("The command '%s' is not supported on the VM '%s', whose operating system is Linux.", doc.ID, nameOf(r.ID))}
	}
	if f.machine(p.ID).power() != "running" {
		return notRunning()
	}
	script := doc.Script
	if len(input.Script) > 0 {
		script = input.Script
	}
	run := &command{Number: p.Commands, Script: strings.Join(script, "\n") + "\n"}
	for _, given := range input.Parameters {
		// Each is an argument of the script's, and a variable by its name.
		run.Args = append(run.Args, given.Value)
		if shellName(given.Name) {
			run.Env = append(run.Env, given.Name+"="+given.Value)
		}
	}
	p.Commands++
	p.Command = run
	return p.store(r)
}

func shellName(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

func notRunning() *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: "The operation requires the VM to be running (or set to run)."}
}

// runCommand moves the command that a VM is to run one step on, and shows what it printed once it is over.
func (f vmReconciler) runCommand(ctx context.Context, m *machine, r *arm.Resource, p *private) (arm.Result, error) {
	run := p.Command
	name := "run-command-" + strconv.Itoa(run.Number)
	switch {
	case run.Epoch == "":
		// That it may have begun is stored before it does: no script runs twice.
		run.Epoch = f.epoch
		return arm.Result{RequeueAfter: soon}, p.store(r)
	case run.Epoch != f.epoch || m.power() != "running":
		p.Command = nil
		return arm.Result{}, failWith(r, p, lostAgent(r))
	}
	dir := m.agentDir("run-command", "download", strconv.Itoa(run.Number))
	if m.task(name) == nil {
		file, err := m.agentFile(dir, "script.sh", []byte(run.Script), 0o700)
		if err != nil {
			return arm.Result{}, err
		}
		line := quote(file)
		for _, e := range run.Env {
			name, value, _ := strings.Cut(e, "=")
			line = "export " + name + "=" + quote(value) + "; " + line
		}
		for _, a := range run.Args {
			line += " " + quote(a)
		}
		// By the shell, so that a script without a first line of its own is the shell's.
		if err := m.launch(name, dir, nil, "/bin/sh", "-c", line); err != nil {
			return arm.Result{}, err
		}
	}
	t := m.task(name)
	if t == nil || !t.over(ctx) {
		return arm.Result{RequeueAfter: taskPause}, p.store(r)
	}
	m.forgetTask(name)
	p.Command = nil
	if t.err != nil {
		return arm.Result{}, failWith(r, p, lostAgent(r))
	}
	p.Step = ""
	// A script that exits with an error has been run all the same: the service says so, and shows what it wrote.
	output, err := json.Marshal(object{"value": []object{{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded",
		"message": "Enable succeeded: " + t.output()}}})
	if err != nil {
		return arm.Result{}, err
	}
	return arm.Result{Done: true, Output: output}, p.store(r)
}

// failWith ends a VM's operation with an error.
func failWith(r *arm.Resource, p *private, why *arm.Error) error {
	p.Step = ""
	if err := p.store(r); err != nil {
		return err
	}
	return why
}

func lostAgent(r *arm.Resource) *arm.Error {
	return &arm.Error{Status: http.StatusConflict, Code: "VMAgentStatusCommunicationError",
		Message: fmt.Sprintf("VM '%s' has not reported status for VM agent or extensions. Please verify the VM has a running VM agent, and can establish outbound connections to Azure storage.", nameOf(r.ID))}
}
