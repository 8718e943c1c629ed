package fence

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExportedStructsNameNoInternalType: a user cannot name a type of an internal package, so no
// exported field may have one, with one exception.
func TestExportedStructsNameNoInternalType(t *testing.T) {
	t.Parallel()
	var bad []string
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if public(name) {
			bad = append(bad, internalFields(t, name, text)...)
		}
	})
	// Packages of this module alone set this field, as its comment says.
	require.Equal(t, []string{"kinesistest/config.go: Config.Network names memnet.Network"}, bad)
	code := "package x\nimport \"github.com/kinesis-go/kcl/internal/line\"\n" +
		"type A struct { B []line.Client; c line.Client }\ntype d struct { E line.Client }\n"
	require.Equal(t, []string{"x.go: A.B names line.Client"}, internalFields(t, "x.go", []byte(code)))
}

// public tells whether a file belongs to a package that users import.
func public(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.HasSuffix(name, "_test.go") && !strings.Contains("/"+path.Dir(name)+"/", "/internal/") &&
		first != "cmd" && first != "examples" && first != "integration"
}

// internalFields lists the exported fields of exported structs whose type names an internal
// package.
func internalFields(t *testing.T, name string, text []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	require.NoError(t, err)
	internal := map[string]bool{}
	for _, spec := range file.Imports {
		if imp := unquote(spec.Path); strings.HasPrefix(imp, module+"/") && strings.Contains(imp, "/internal/") {
			local := path.Base(imp)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			internal[local] = true
		}
	}
	var bad []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.TypeSpec)
		if !ok || !spec.Name.IsExported() {
			return !ok
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, field := range structure.Fields.List {
			ast.Inspect(field.Type, func(node ast.Node) bool {
				sel, ok := node.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if pkg, ok := sel.X.(*ast.Ident); ok && internal[pkg.Name] {
					for _, n := range exportedNames(field, sel) {
						bad = append(bad, name+": "+spec.Name.Name+"."+n+" names "+pkg.Name+"."+sel.Sel.Name)
					}
				}
				return true
			})
		}
		return false
	})
	return bad
}

// exportedNames are the exported names of a field; an embedded type gives its own.
func exportedNames(field *ast.Field, embedded *ast.SelectorExpr) []string {
	if len(field.Names) == 0 {
		return []string{embedded.Sel.Name}
	}
	var names []string
	for _, n := range field.Names {
		if n.IsExported() {
			names = append(names, n.Name)
		}
	}
	return names
}

// TestStoresHaveOneFace: a user of a store needs its Config, New and the Store, and finds nothing
// else in its package.
func TestStoresHaveOneFace(t *testing.T) {
	t.Parallel()
	names := map[string][]string{}
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if dir := path.Dir(name); public(name) && (dir == "leases/dynamodb" || dir == "leases/redis") {
			names[dir] = append(names[dir], exportedDeclarations(t, text)...)
		}
	})
	for _, dir := range []string{"leases/dynamodb", "leases/redis"} {
		require.ElementsMatch(t, []string{"Config", "New", "Store"}, names[dir], dir)
	}
	require.Equal(t, []string{"A", "B", "C", "D"}, exportedDeclarations(t,
		[]byte("package x\nconst A = 1\nvar B, b = 1, 2\ntype C int\nfunc D() {}\nfunc (c C) E() {}\nfunc d() {}\n")))
}

// exportedDeclarations are the exported names that a file declares in its package. Methods are not
// among them.
func exportedDeclarations(t *testing.T, text []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	require.NoError(t, err)
	var idents []*ast.Ident
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				idents = append(idents, decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					idents = append(idents, spec.Name)
				case *ast.ValueSpec:
					idents = append(idents, spec.Names...)
				}
			}
		}
	}
	var names []string
	for _, ident := range idents {
		if ident.IsExported() {
			names = append(names, ident.Name)
		}
	}
	return names
}
