package fence

import (
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawers may import the standard library's random numbers. Mains and rigs may, too.
var drawers = map[string]string{
	"internal/chance":  "the source of all others",
	"internal/kcl3":    "names the type of the generator that it is given",
	"internal/awstest": "draws test cases from a seed",
	"kinesistest":      "imports nothing of this module, and draws only ids and keys that no event shows",
}

// TestChanceComesFromOnePackage keeps random numbers inside internal/chance. A simulation repeats
// them there.
func TestChanceComesFromOnePackage(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	walk(t, filepath.Join("..", ".."), func(name string, text []byte) {
		dir := path.Dir(name)
		if strings.HasSuffix(name, "_test.go") || matches(dir, rigs) || !draws(t, text) {
			return
		}
		used[dir] = true
		require.Contains(t, drawers, dir, "%s: use internal/chance", name)
	})
	for dir := range drawers {
		require.True(t, used[dir], "%s draws no random numbers any more", dir)
	}
	require.True(t, draws(t, []byte("package x\nimport r \"math/rand/v2\"\n")))
	require.False(t, draws(t, []byte("package x\nimport \"math\"\n")))
}

// draws tells whether a file imports random numbers.
func draws(t *testing.T, text []byte) bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range file.Imports {
		if slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand"}, unquote(spec.Path)) {
			return true
		}
	}
	return false
}
