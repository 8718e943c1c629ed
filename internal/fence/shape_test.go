package fence

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	maxMethods = 25 // of a type
	maxFields  = 20 // of a struct; embedding counts as one, and a type named Config has no bound
	maxLines   = 90 // of a function
)

// maxPackage bounds the lines of a package, tests aside. The larger ones have a bound of their own,
// which only ever falls.
const maxPackage = 3500

var largePackages = map[string]int{
	"kinesistest": 6650, "scheduler": 7867,
}

// maxSeamFiles is the number of files of package leases, which every store and every reader of
// leases has to know.
const maxSeamFiles = 6

// maxSeamNames is the number of exported names of package leases, methods aside.
const maxSeamNames = 70

// TestPackagesStaySmall: a package is read in one sitting.
func TestPackagesStaySmall(t *testing.T) {
	t.Parallel()
	lines, files := map[string]int{}, map[string]int{}
	var seam []string
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			lines[path.Dir(name)] += strings.Count(string(text), "\n")
			files[path.Dir(name)]++
			if path.Dir(name) == "leases" {
				seam = append(seam, exportedDeclarations(t, text)...)
			}
		}
	})
	require.Contains(t, lines, "leases")
	for dir, n := range lines {
		limit, ok := largePackages[dir]
		if !ok {
			limit = maxPackage
		}
		require.LessOrEqual(t, n, limit, "lines of %s: divide the package", dir)
	}
	require.LessOrEqual(t, files["leases"], maxSeamFiles, "files of leases")
	require.LessOrEqual(t, len(seam), maxSeamNames, "exported names of leases: %s", seam)
}

// wholes is the types that no part may point back to: a part gets what it uses.
var wholes = map[string]string{"scheduler": "Scheduler"}

// TestTypesHaveOneOwner: a type has few fields and methods, a function few lines, and no
// part points back to its whole.
func TestTypesHaveOneOwner(t *testing.T) {
	t.Parallel()
	packages := map[string][]string{}
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if dir := path.Dir(name); !strings.HasSuffix(name, "_test.go") {
			packages[dir] = append(packages[dir], string(text))
		}
	})
	require.Contains(t, packages, "scheduler")
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		require.Empty(t, misshapen(t, wholes[dir], packages[dir]), "%s: divide the type or function by what it owns", dir)
	}
}

// misshapen names what breaks the limits in the files of one package, and the fields of
// type whole or a pointer to it.
func misshapen(t *testing.T, whole string, texts []string) []string {
	t.Helper()
	var bad []string
	methods := map[string]int{}
	for _, text := range texts {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "", text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				if lines := set.Position(node.End()).Line - set.Position(node.Pos()).Line + 1; lines > maxLines {
					bad = append(bad, fmt.Sprintf("function %s has %d lines", node.Name.Name, lines))
				}
				if node.Recv != nil {
					methods[named(node.Recv.List[0].Type)]++
				}
			case *ast.TypeSpec:
				fields, ok := node.Type.(*ast.StructType)
				if !ok {
					return true
				}
				count := 0
				for _, field := range fields.Fields.List {
					count += max(1, len(field.Names))
					if whole != "" && named(field.Type) == whole {
						bad = append(bad, fmt.Sprintf("type %s has a field of type %s", node.Name.Name, whole))
					}
				}
				if count > maxFields && node.Name.Name != "Config" {
					bad = append(bad, fmt.Sprintf("type %s has %d fields", node.Name.Name, count))
				}
			}
			return true
		})
	}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if methods[name] > maxMethods {
			bad = append(bad, fmt.Sprintf("type %s has %d methods", name, methods[name]))
		}
	}
	return bad
}

// named is the name of a type, behind a pointer and type parameters; empty for others.
func named(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr.Name
	case *ast.StarExpr:
		return named(expr.X)
	case *ast.IndexExpr:
		return named(expr.X)
	case *ast.IndexListExpr:
		return named(expr.X)
	}
	return ""
}

func TestMisshapenBites(t *testing.T) {
	t.Parallel()
	fields := func(n int) string { return strings.Repeat("\ta int\n", n) }
	require.Empty(t, misshapen(t, "Scheduler", []string{
		"package x\ntype part struct {\n" + fields(maxFields) + "}\n",
		"package x\ntype Config struct {\n" + fields(maxFields+1) + "}\n",
	}))
	require.Equal(t, []string{"type part has 21 fields"},
		misshapen(t, "", []string{"package x\ntype part struct {\n" + fields(maxFields+1) + "}\n"}))
	require.Equal(t, []string{"type part has a field of type Scheduler"},
		misshapen(t, "Scheduler", []string{"package x\ntype part struct { s *Scheduler }\n"}))
	require.Equal(t, []string{"type part has 26 methods"}, misshapen(t, "", []string{
		"package x\n" + strings.Repeat("func (p *part) m() {}\n", maxMethods), "package x\nfunc (p part) n() {}\n",
	}))
	require.Equal(t, []string{"function f has 91 lines"},
		misshapen(t, "", []string{"package x\nfunc f() {" + strings.Repeat("\n", maxLines) + "}\n"}))
}
