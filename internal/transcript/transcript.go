// Package transcript compares decisions with scenes that are stored as text. Only tests
// import it. It defines the flag -update, which writes the files anew.
//
// A blank line separates the blocks of a file. A block of comments alone is prose. Every
// other block is a scene: the input, a rule of hyphens, and the decision. The input is in
// the format of its test. [Parse] reads tables.
package transcript

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the decisions into the transcripts")

// rule separates the input of a scene from the decision.
const rule = "----"

// Run plays each scene of the files testdata/folder/*.txt, and compares it with the file.
// play returns the lines of the decision.
func Run(t *testing.T, folder string, play func(t *testing.T, input string) []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var blocks []string
			for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
				input, _, isScene := strings.Cut(block, "\n"+rule)
				if !isScene {
					require.True(t, prose(block), "neither comments nor a scene with a rule: %s", block)
					blocks = append(blocks, block)
					continue
				}
				lines := append([]string{align(input), rule}, play(t, input)...)
				blocks = append(blocks, strings.Join(lines, "\n"))
			}
			got := strings.Join(blocks, "\n\n") + "\n"
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
			}
			require.Equal(t, string(text), got, "run with -update to accept")
		})
	}
}

// prose tells whether all lines of a block are comments.
func prose(block string) bool {
	for line := range strings.SplitSeq(block, "\n") {
		if !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}
