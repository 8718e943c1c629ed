package fence

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	fileReference   = regexp.MustCompile(`^((?:[\w.-]+/)*[\w-]+\.go)(?::([\w.]+))?$`) // scheduler/call.go:consumer.repeat
	folderReference = regexp.MustCompile(`^[\w-]+(?:/[\w-]+)*/$`)                     // leases/dynamodb/
	nameReference   = regexp.MustCompile(`^([a-z]\w*)\.([A-Z]\w*)`)                   // leases.Store
	span            = regexp.MustCompile("`([^`\n]+)`")
	relativeLink    = regexp.MustCompile(`\]\(([^):#]+)[^)]*\)`)
)

// TestDocumentsNameCode: each file, function, folder and exported name of this module that a
// document names exists.
func TestDocumentsNameCode(t *testing.T) {
	t.Parallel()
	code := declarations(t)
	var documents []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		documents = append(documents, found...)
	}
	for _, document := range documents {
		if filepath.Base(document) == "CHANGELOG.md" {
			continue // it tells of names that were
		}
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, problem := range code.missing(string(text)) {
			t.Errorf("%s: %s", document, problem)
		}
		for _, m := range relativeLink.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(document), m[1]))
			require.NoError(t, err, "%s: a link to nowhere", document)
		}
	}
}

// TestArchitectureIsShort: a newcomer reads ARCHITECTURE.md in one go.
func TestArchitectureIsShort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(text), "\n"), 220, "move something to docs")
}

var (
	invariant = regexp.MustCompile(`(?m)^\| I(\d+) \| ([^|\n]+) \| ([^|\n]+) \|$`)
	citation  = regexp.MustCompile(`\(I(\d+)[,)]|\binvariant I(\d+)\b`)
)

// TestInvariantsAreNumbered: the invariants of ARCHITECTURE.md count from I1 without a gap. Each
// names a test. Code cites no other numbers.
func TestInvariantsAreNumbered(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	require.NoError(t, err)
	rows := invariant.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, rows)
	for i, row := range rows {
		require.Equal(t, strconv.Itoa(i+1), row[1], "numbers stay: code cites them")
		require.Contains(t, row[3], "`Test", "I%s names no test", row[1])
	}
	walk(t, "../..", func(name string, text []byte) {
		for _, m := range citation.FindAllStringSubmatch(string(text), -1) {
			n, err := strconv.Atoi(m[1] + m[2])
			require.NoError(t, err)
			require.LessOrEqual(t, n, len(rows), "%s cites %s, which ARCHITECTURE.md has not", name, m[0])
		}
	})
}

// code is what the module declares.
type code struct {
	files    map[string]map[string]bool // file -> names: function, type, Type.method, constant, variable
	folders  map[string]bool
	packages map[string]map[string]bool // package -> exported names, test files apart
}

func declarations(t *testing.T) code {
	t.Helper()
	c := code{files: map[string]map[string]bool{}, folders: map[string]bool{}, packages: map[string]map[string]bool{}}
	walk(t, "../..", func(name string, text []byte) {
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			c.folders[dir+"/"] = true
		}
		c.files[name] = map[string]bool{}
		exported := c.packages[file.Name.Name]
		if exported == nil {
			exported = map[string]bool{}
			c.packages[file.Name.Name] = exported
		}
		for _, declared := range namesOf(file) {
			c.files[name][declared] = true
			if !strings.HasSuffix(name, "_test.go") {
				exported[declared] = true
			}
		}
	})
	return c
}

// namesOf lists what a file declares at its top level.
func namesOf(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// missing says which code spans of a document name something that the module has not.
func (c code) missing(text string) []string {
	var problems []string
	for _, m := range span.FindAllStringSubmatch(text, -1) {
		switch s := m[1]; {
		case fileReference.MatchString(s):
			parts := fileReference.FindStringSubmatch(s)
			names, ok := c.files[parts[1]]
			if !ok {
				problems = append(problems, fmt.Sprintf("there is no file %s", parts[1]))
			} else if parts[2] != "" && !names[parts[2]] {
				problems = append(problems, fmt.Sprintf("%s does not declare %s", parts[1], parts[2]))
			}
		case folderReference.MatchString(s):
			if !c.folders[s] && !c.folders["internal/"+s] {
				problems = append(problems, fmt.Sprintf("there is no folder %s with Go files", s))
			}
		case nameReference.MatchString(s):
			parts := nameReference.FindStringSubmatch(s)
			if names, ours := c.packages[parts[1]]; ours && !names[parts[2]] {
				problems = append(problems, fmt.Sprintf("package %s does not declare %s", parts[1], parts[2]))
			}
		}
	}
	return problems
}

func TestMissingBites(t *testing.T) {
	t.Parallel()
	c := code{
		files:    map[string]map[string]bool{"leases/plan.go": {"plan": true, "view.waiting": true}},
		folders:  map[string]bool{"leases/": true, "internal/line/": true},
		packages: map[string]map[string]bool{"leases": {"Store": true}},
	}
	require.Empty(t, c.missing("`leases/plan.go`, `leases/plan.go:plan`, `leases/plan.go:view.waiting`, "+
		"`leases/`, `line/`, `leases.Store`, `context.Cause`"))
	require.Equal(t, []string{
		"there is no file leases/gone.go", "leases/plan.go does not declare view.plan",
		"there is no folder scheduler/ with Go files", "package leases does not declare Shop",
	}, c.missing("`leases/gone.go:plan` `leases/plan.go:view.plan` `scheduler/` `leases.Shop(1)`"))
}
