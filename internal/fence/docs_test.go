package fence_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsNameTests: every test that a document points to exists.
func TestDocumentsNameTests(t *testing.T) {
	t.Parallel()
	var tests []string
	function := regexp.MustCompile(`(?m)^func (Test\w+|Benchmark\w+|Fuzz\w+|Example\w*)\(`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			tests = append(tests, m[1])
		}
		return err
	}))
	mention := regexp.MustCompile("`((?:Test|Benchmark|Fuzz|Example)\\w+)(\\.\\.\\.)?`")
	documents, err := filepath.Glob("../../*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	found := 0
	for _, document := range append(documents, more...) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, m := range mention.FindAllStringSubmatch(string(text), -1) {
			found++
			exists := false
			for _, name := range tests {
				exists = exists || name == m[1] || m[2] != "" && strings.HasPrefix(name, m[1])
			}
			require.True(t, exists, "%s points to %s, which does not exist", document, m[0])
		}
	}
	require.NotZero(t, found)
}

// TestSectionsSaySomething: no document has a heading without a text.
func TestSectionsSaySomething(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../../*.md")
	require.NoError(t, err)
	require.NotEmpty(t, documents)
	empty := regexp.MustCompile(`(?m)^(#+) .*\n+(\z|#+ )`)
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, m := range empty.FindAllStringSubmatch(string(text), -1) {
			deeper := len(m[2]) > len(m[1])+1 // a section that begins with a subsection
			require.True(t, deeper, "%s: an empty section: %q", document, m[0])
		}
	}
}

// TestConfigurationTableIsComplete: README.md lists every field of the
// configuration, and none that does not exist.
func TestConfigurationTableIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "\n| field | default |")
	require.True(t, ok)
	table, _, ok = strings.Cut(table, "\n\n")
	require.True(t, ok)
	var listed []string
	for _, row := range strings.Split(table, "\n")[2:] {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			listed = append(listed, m[1])
		}
	}
	var fields []string
	file, err := parser.ParseFile(token.NewFileSet(), "../../scheduler/config.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" && spec.Name.Name != "StreamConfig" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			for _, name := range field.Names {
				fields = append(fields, name.Name)
			}
		}
		return false
	})
	require.ElementsMatch(t, fields, listed)
}

// TestQuickstartCompiles builds the program in README.md.
func TestQuickstartCompiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "```go\n")
	require.True(t, ok)
	program, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, file)
	build.Dir = "../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
