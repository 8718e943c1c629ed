package fence

import (
	"fmt"
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

// TestLinesAreWrapped: a line fits on the screen, in tests too.
func TestLinesAreWrapped(t *testing.T) {
	t.Parallel()
	count := 0
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		count++
		require.Empty(t, longLines(name, string(text)))
	})
	require.Greater(t, count, 100)

	x, y := strings.Repeat("x", maxCodeColumns-1), strings.Repeat("y", maxCommentColumns-4)
	require.Empty(t, longLines("a.go", "\t"+x+"\n\t// "+y+"\n"))
	require.Empty(t, longLines("a.go", "// Output:\n// y"+y+"\n//\t"+y+"\n"))
	require.Equal(t, []string{"a.go:1: 121 columns", "a.go:2: 101 columns"}, longLines("a.go", "\tx"+x+"\n\t// y"+y+"\n"))
}

// longLines names the lines that are too long. A tab is one column. Diagrams in comments have the
// limit of code. The output of an example has none.
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
