package fence_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
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

// TestScenesAreNamed: docs/kcl3.md links to each scene of a departure from the KCL. The head of the
// scene's file says what the KCL does, and what this library does.
func TestScenesAreNamed(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/kcl3.md")
	require.NoError(t, err)
	for _, dir := range []string{"internal/kcl3", "internal/shardsync"} {
		scenes, err := filepath.Glob("../../" + dir + "/testdata/*/*.txt")
		require.NoError(t, err)
		require.NotEmpty(t, scenes)
		for _, scene := range scenes {
			link := filepath.ToSlash(strings.TrimPrefix(scene, "../"))
			require.Contains(t, string(document), "]("+link+")", "docs/kcl3.md does not name a scene")
			text, err := os.ReadFile(scene)
			require.NoError(t, err)
			head, _, _ := strings.Cut(string(text), "\n\n")
			require.Regexp(t, `^#.*KCL.*\n#.*\b(We|we|Here|here|Our|Ours|ours)\b`, head,
				"%s does not begin with what the KCL does and what we do", link)
		}
	}
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

// TestConfigurationTableIsComplete: each section of docs/configuration.md lists every
// field of the struct in its heading, once, and no other. No configuration is without a section.
func TestConfigurationTableIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	sections := map[string][]string{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		_, table, ok := strings.Cut(body, "\n| field | default |")
		if !ok {
			continue
		}
		table, _, _ = strings.Cut(table, "\n\n")
		for _, row := range strings.Split(strings.TrimSpace(table), "\n")[2:] {
			for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
				sections[heading] = append(sections[heading], m[1])
			}
		}
	}
	for _, heading := range []string{
		"scheduler.Config", "scheduler.StreamConfig", "scheduler.FormerStreams", "leases/dynamodb.Config",
		"leases/redis.Config",
	} {
		dir, name, _ := strings.Cut(heading, ".")
		require.ElementsMatch(t, fieldsOf(t, dir, name), sections[heading], heading)
		delete(sections, heading)
	}
	require.Empty(t, sections, "sections about structs that this test does not know")
}

// fieldsOf lists the exported fields of a struct of this module.
func fieldsOf(t *testing.T, dir, name string) []string {
	t.Helper()
	files, err := filepath.Glob("../../" + dir + "/*.go")
	require.NoError(t, err)
	var fields []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name || strings.HasSuffix(file, "_test.go") {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				for _, name := range field.Names {
					if name.IsExported() {
						fields = append(fields, name.Name)
					}
				}
			}
			return false
		})
	}
	require.NotEmpty(t, fields, "%s.%s", dir, name)
	return fields
}
