package fence_test

import (
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
