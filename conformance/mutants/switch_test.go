package mutants_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lazulite.dev/conformance/mutants"
)

const switchable = `package main

import "fmt"

func sum(a, b int) int {
	return a + b
}

func greet(name string) {
	fmt.Println("hello", name)
}

func named() (n int, err error) {
	n = 1
	return
}

const word = "constant"

func main() {
	greet(fmt.Sprint(sum(2, 3)))
	_, _ = named()
}
`

// A build has all its mutants, is sound without the variable, and is one of them with it.
func TestSwitched(t *testing.T) {
	of := []mutants.Mutant{
		{ID: "minus", Find: "a + b", Replace: "a - b"},
		{ID: "times", Find: "return a +", Replace: "return a *"},
		{ID: "silent", Find: `fmt.Println("hello", name)`, Replace: `_ = strings.ToUpper(name)`, Import: "strings"},
		{ID: "bare", Find: "n = 1", Replace: "n = 2"},
		{ID: "constant", Find: `"constant"`, Replace: `"other"`},
	}
	text, alone, err := mutants.Switched("main.go", switchable, of)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"bare", "constant"}; !slices.Equal(alone, want) {
		t.Errorf("%q need a build of their own, want %q", alone, want)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"main.go": text, "go.mod": "module switched\n\ngo 1.24\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "switched")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = dir
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, b, text)
	}
	for id, want := range map[string]string{"": "hello 5\n", "minus": "hello -1\n", "times": "hello 6\n", "silent": "", "unknown": "hello 5\n"} {
		cmd := exec.CommandContext(t.Context(), bin)
		cmd.Env = append(os.Environ(), mutants.Variable+"="+id)
		out, err := cmd.Output()
		if err != nil || string(out) != want {
			t.Errorf("%q prints %q (%v), want %q", id, out, err, want)
		}
	}
}

func TestSwitchedOther(t *testing.T) {
	text, alone, err := mutants.Switched("control.py", "x = 1\n", []mutants.Mutant{{ID: "two", Find: "1", Replace: "2"}})
	if err != nil || text != "x = 1\n" || !slices.Equal(alone, []string{"two"}) {
		t.Errorf("a file that is not Go gives %q, %q, %v", text, alone, err)
	}
	for name, m := range map[string]mutants.Mutant{"absent": {ID: "m", Find: "nowhere", Replace: "x"}, "twice": {ID: "m", Find: "fmt", Replace: "x"}, "idle": {ID: "m", Find: "a + b", Replace: "a + b"}} {
		if _, _, err := mutants.Switched("main.go", switchable, []mutants.Mutant{m}); err == nil || !strings.Contains(err.Error(), "m") {
			t.Errorf("%s: %v, want an error that names the mutant", name, err)
		}
	}
}
