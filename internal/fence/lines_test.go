package fence

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	maxCodeColumns    = 120
	maxCommentColumns = 100 // of a line that is only a comment
)

// wrapped is the packages whose lines keep these limits. Add a package as soon as it does.
var wrapped = []string{
	"cmd/kclctl/internal/...", "cmd/kinesisfake", "efo", "examples/...", "kpl", "leases", "leases/dynamodb",
	"leases/leasefault", "leases/memory", "leases/redis", "metrics/...", "polling", "processors", "scheduler",
	"internal/awstest", "internal/caughtup", "internal/coordinator", "internal/dynamotest", "internal/election",
	"internal/fleetstart", "internal/gokcl", "internal/holder", "internal/kcl3", "internal/memnet",
	"internal/parallel", "internal/plan", "internal/retry", "internal/shardend", "internal/shardsync",
	"internal/testsize", "internal/transcript", "internal/trust", "internal/usercode",
}

// TestLinesAreWrapped: a line fits on the screen, in tests too.
func TestLinesAreWrapped(t *testing.T) {
	t.Parallel()
	count := 0
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		if matches(path.Dir(name), wrapped) {
			count++
			require.Empty(t, longLines(name, string(text)))
		}
	})
	require.Greater(t, count, len(wrapped))

	x, y := strings.Repeat("x", maxCodeColumns-1), strings.Repeat("y", maxCommentColumns-4)
	require.Empty(t, longLines("a.go", "\t"+x+"\n\t// "+y+"\n"))
	require.Empty(t, longLines("a.go", "// Output:\n// y"+y+"\n//\t"+y+"\n"))
	require.Equal(t, []string{"a.go:1: 121 columns", "a.go:2: 101 columns"}, longLines("a.go", "\tx"+x+"\n\t// y"+y+"\n"))
}

// longLines names the lines that are too long. A tab is one column. Diagrams in comments are as long
// as code, and the output of an example is as long as it is.
func longLines(name, text string) []string {
	var bad []string
	output := false
	for i, line := range strings.Split(text, "\n") {
		limit := maxCodeColumns
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//")
		output = ok && (output || comment == " Output:")
		switch {
		case output:
			continue
		case ok && !strings.HasPrefix(comment, "\t"):
			limit = maxCommentColumns
		}
		if n := utf8.RuneCountInString(line); n > limit {
			bad = append(bad, fmt.Sprintf("%s:%d: %d columns", name, i+1, n))
		}
	}
	return bad
}
