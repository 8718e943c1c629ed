package kinesistest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestE29BehavioursAreListed: what the fake promises is a written list, each row with the page that
// it comes from and a test that exists. Emulators differ from the service, so none of them is the
// measure.
func TestE29BehavioursAreListed(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
	}
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	row := regexp.MustCompile(`^//\t  (.+?) +(API|quotas|large|routing|model|seen|inferred) +(Test[\w ]+)$`)
	rows, section := map[string]bool{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "//\t  ") {
			section = line
			continue
		}
		m := row.FindStringSubmatch(line)
		require.NotNil(t, m, "no page or no test: %s", line)
		require.False(t, rows[section+m[1]], "twice: %s", line)
		rows[section+m[1]] = true
		for name := range strings.FieldsSeq(m[3]) {
			require.True(t, tests[name], "there is no %s: %s", name, line)
		}
	}
	require.GreaterOrEqual(t, len(rows), 95)
	t.Logf("%d behaviours", len(rows))
}
