package planted

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../../.."
	module = "github.com/kinesis-go/kcl"
)

// TestBugsCompile: each bug still fits the library, and the library compiles with it.
func TestBugsCompile(t *testing.T) {
	t.Parallel()
	bugs, err := All()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(bugs), 60)
	packages := listPackages(t, bugs)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(packages[folder(path)].export)
	})
	changed, err := Plant(root, bugs)
	require.NoError(t, err)
	for dir, p := range packages {
		if !p.planted {
			continue
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range append(p.files, "zz_planted.go") {
			var text any
			if s, ok := changed[path.Join(dir, name)]; ok {
				text = s
			}
			f, err := parser.ParseFile(fset, filepath.Join(root, dir, name), text, parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
		_, err = (&types.Config{Importer: imports}).Check(dir, fset, files, nil)
		require.NoError(t, err)
	}
}

// folder returns the folder of a package of the module. Other packages keep their paths.
func folder(importPath string) string {
	return path.Clean(strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/"))
}

// goPackage is a package with the file of its export data.
type goPackage struct {
	export  string
	files   []string
	planted bool // it has bugs
}

// listPackages returns the packages with planted bugs, and all that they import. Those of the
// module have their folders as keys.
func listPackages(t *testing.T, bugs []Bug) map[string]goPackage {
	const form = "{{.ImportPath}}|{{.Export}}|{{join .GoFiles \",\"}}|{{not .DepOnly}}"
	args := []string{"list", "-export", "-deps", "-f", form}
	for _, b := range bugs {
		for _, dir := range b.Tests {
			args = append(args, "./"+dir)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	packages := map[string]goPackage{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		packages[folder(f[0])] = goPackage{f[1], strings.Split(f[2], ","), f[3] == "true"}
	}
	return packages
}

func TestParse(t *testing.T) {
	t.Parallel()
	b, err := parse("name", "Two\nlines.\n\n--- doc.go\n a\n-b\n+c\n\n d\n--- kpl/doc.go\n-x\n")
	require.NoError(t, err)
	require.Equal(t, Bug{
		Name: "name", Text: "Two lines.", Tests: []string{".", "kpl"},
		Edits: []Edit{{"doc.go", "a\nb\n\nd\n", "a\nc\n\nd\n"}, {"kpl/doc.go", "x\n", ""}},
	}, b)
	for text, want := range map[string]string{
		"Text.\n":                        "no line that begins with ---",
		"\n--- doc.go\n-a\n":             "no description",
		"Text.\n\n--- doc.go\n a\n":      "changes nothing",
		"Text.\n\n--- doc.go\n+a\n":      "names no old lines",
		"Text.\n\n--- doc.go\n-a\nb c\n": "neither a space",
	} {
		_, err := parse("name", text)
		require.ErrorContains(t, err, want)
	}
}

// TestPlant: a function with bugs calls the copy of the chosen one.
func TestPlant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = "package a\n\nfunc (T[P]) f(_ int, _ ...P) (n int) {\n\tn = 1\n\treturn n\n}\n\nfunc g() {\n\tg()\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte(text), 0o600))
	changed, err := Plant(dir, []Bug{
		{Name: "one-two", Edits: []Edit{{"a.go", "\tn = 1\n", "\tn = 2\n"}, {"a.go", "\tg()\n", ""}}},
		{Name: "three", Edits: []Edit{{"a.go", "\tn = 1\n", "\tn = 3\n"}, {"a.go", "\treturn n\n", "\treturn -n\n"}}},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"zz_planted.go": "package a\n\nimport \"os\"\n\nvar planted = os.Getenv(\"KCL_PLANTED\")\n",
		"a.go": `package a

func (unnamed0 T[P]) f(unnamed1 int, unnamed2 ...P) (n int) {
	if planted == "one-two" {
		return unnamed0.f_one_two(unnamed1, unnamed2...)
	}
	if planted == "three" {
		return unnamed0.f_three(unnamed1, unnamed2...)
	}

	n = 1
	return n
}

func (unnamed0 T[P]) f_one_two(unnamed1 int, unnamed2 ...P) (n int) {
	n = 2
	return n
}

func (unnamed0 T[P]) f_three(unnamed1 int, unnamed2 ...P) (n int) {
	n = 3
	return -n
}

func g() {
	if planted == "one-two" {
		g_one_two()
		return
	}

	g()
}

func g_one_two() {
}
`,
	}, changed)
}

// TestPlantFailsLoudly: lines that are gone, are there twice, or are in no function, are an error.
func TestPlantFailsLoudly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte(
		"package a\n\nconst c = 1\n\nfunc f() {\n\tf()\n\tf()\n\tg()\n}\n\nfunc g() {\n}\n"), 0o600))
	for old, want := range map[string]string{
		"\tf()\n": "2 times", "\th()\n": "0 times", "f()\n": "0 times", "const c = 1\n": "do not lie in the body",
		"\tg()\n}\n\nfunc g() {\n": "do not lie in the body",
	} {
		_, err := Plant(dir, []Bug{{Name: "name", Edits: []Edit{{"a.go", old, "\n"}}}})
		require.ErrorContains(t, err, want)
	}
}
