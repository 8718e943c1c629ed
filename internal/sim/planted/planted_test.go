package planted

import (
	"errors"
	"fmt"
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

const root = "../../.."

// TestBugsCompile: each bug still fits the library, and the library compiles with it.
func TestBugsCompile(t *testing.T) {
	t.Parallel()
	bugs, err := All()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(bugs), 60)
	packages := listPackages(t, bugs)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(packages[path].export)
	})
	var errs []error
	fset, parsed := token.NewFileSet(), map[string]*ast.File{}
	for _, b := range bugs {
		changed, err := b.Apply(root)
		if errs = append(errs, err); err != nil {
			continue
		}
		for _, dir := range b.Tests {
			p := packages[path.Join("github.com/kinesis-go/kcl", dir)]
			require.NotEmpty(t, p.files, dir)
			var files []*ast.File
			for _, name := range p.files {
				name = path.Join(dir, name)
				text, planted := changed[name]
				f := parsed[name]
				switch {
				case planted:
					f, err = parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
				case f == nil:
					f, err = parser.ParseFile(fset, path.Join(root, name), nil, parser.SkipObjectResolution)
					parsed[name] = f
				}
				errs, files = append(errs, err), append(files, f)
			}
			if _, err = (&types.Config{Importer: imports}).Check(dir, fset, files, nil); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", b.Name, err))
			}
		}
	}
	require.NoError(t, errors.Join(errs...))
}

// goPackage is a package with the file of its export data.
type goPackage struct {
	export string
	files  []string
}

// listPackages returns the packages with planted bugs, and all that they import.
func listPackages(t *testing.T, bugs []Bug) map[string]goPackage {
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}|{{.Export}}|{{join .GoFiles \",\"}}"}
	for _, b := range bugs {
		args = append(args, b.Tests...)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	packages := map[string]goPackage{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		packages[f[0]] = goPackage{f[1], strings.Split(f[2], ",")}
	}
	return packages
}

func TestParse(t *testing.T) {
	t.Parallel()
	b, err := parse("name", "Two\nlines.\n\n--- doc.go\n a\n-b\n+c\n\n d\n--- kpl/doc.go\n-x\n")
	require.NoError(t, err)
	require.Equal(t, Bug{
		Name: "name", Text: "Two lines.", Tests: []string{"./.", "./kpl"},
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

// TestApplyFailsLoudly: lines that are gone, or are there twice, are an error.
func TestApplyFailsLoudly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("one\ntwo\ntwo\nthree\n"), 0o600))
	for old, want := range map[string]string{"two\n": "2 times", "four\n": "0 times", "wo\n": "0 times"} {
		_, err := Bug{Name: "name", Edits: []Edit{{"a.go", old, "new\n"}}}.Apply(dir)
		require.ErrorContains(t, err, want)
	}
	changed, err := Bug{Edits: []Edit{{"a.go", "one\ntwo\n", "1\n2\n"}, {"a.go", "2\n", "II\n"}}}.Apply(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.go": "1\nII\ntwo\nthree\n"}, changed)
}
