package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// Variable names the mutant that a build of Switched sources is to be.
const Variable = "LAZULITE_MUTANT"

// Switched returns a Go source that has all its mutants in it, each of which is
// on if Variable names it: a function gets its changed body before its own. It
// returns the ids of those that cannot be had so (their text is not in one
// function's body, or the file is not Go), which need a build of their own.
func Switched(file, source string, of []Mutant) (text string, alone []string, err error) {
	if !strings.HasSuffix(file, ".go") {
		for _, m := range of {
			alone = append(alone, m.ID)
		}
		return source, alone, nil
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return "", nil, err
	}
	at := func(p token.Pos) int { return set.Position(p).Offset }
	type insert struct {
		offset int
		text   string
	}
	inserts := []insert{{at(tree.Name.End()), "\n\nimport switched \"os\"\n"}}
	for _, m := range of {
		if _, err := m.Apply(source); err != nil {
			return "", nil, err
		}
		where := strings.Index(source, m.Find)
		body := bodyAround(tree, at, where, where+len(m.Find))
		if body == nil || awkward(tree, body) {
			alone = append(alone, m.ID)
			continue
		}
		if m.Import != "" && !slices.ContainsFunc(tree.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(m.Import) }) {
			inserts = append(inserts, insert{at(tree.Name.End()), fmt.Sprintf("\nimport %q\n", m.Import)})
		}
		from, to := at(body.Lbrace)+1, at(body.Rbrace)
		changed := source[from:where] + m.Replace + source[where+len(m.Find):to]
		end := ""
		if !returns(tree, body) {
			end = "\nreturn"
		}
		inserts = append(inserts, insert{from, fmt.Sprintf("\nif switched.Getenv(%q) == %q {%s%s\n}\n", Variable, m.ID, changed, end)})
	}
	slices.SortStableFunc(inserts, func(a, b insert) int { return b.offset - a.offset })
	for _, i := range inserts {
		source = source[:i.offset] + i.text + source[i.offset:]
	}
	return source, alone, nil
}

// bodyAround is the body of the top-level function that has all of a range in it.
func bodyAround(tree *ast.File, at func(token.Pos) int, from, to int) *ast.BlockStmt {
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && at(f.Body.Lbrace) < from && to <= at(f.Body.Rbrace) {
			return f.Body
		}
	}
	return nil
}

// returns says whether the function of a body has results, so that its body ends in a terminating statement.
func returns(tree *ast.File, body *ast.BlockStmt) bool { return results(tree, body) != nil }

func results(tree *ast.File, body *ast.BlockStmt) *ast.FieldList {
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body == body {
			return f.Type.Results
		}
	}
	return nil
}

// awkward says whether a body means something else in a block of its own: a
// label can be had but once, and a named result may be another variable there.
func awkward(tree *ast.File, body *ast.BlockStmt) (found bool) {
	list := results(tree, body)
	named := list != nil && len(list.List) > 0 && len(list.List[0].Names) > 0
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.LabeledStmt:
			found = true
		case *ast.DeferStmt:
			found = found || named
		case *ast.ReturnStmt:
			found = found || named && len(n.Results) == 0
		}
		return !found
	})
	return found
}
