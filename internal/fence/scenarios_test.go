package fence

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scenarios is how many failures each family of docs/failures.md has. L is leasing, R
// resharding, E enhanced fan-out, P polling, X processing and checkpoints, K aggregated records,
// M child processes.
var scenarios = map[byte]int{'L': 31, 'R': 23, 'E': 29, 'P': 17, 'X': 19, 'K': 12, 'M': 11}

var (
	// TestE01SilentConnection, TestE12AndE27ConsumerStates, TestK01K02CorruptAggregates.
	scenarioTest = regexp.MustCompile(`(?m)^func Test((?:(?:And)?[ELRPXKM]\d{2})+)`)
	// "E-01 with a cut" as the name of a case.
	scenarioCase = regexp.MustCompile(`"([ELRPXKM])-(\d{2})\b`)
	scenarioID   = regexp.MustCompile(`([ELRPXKM])(\d{2})`)
	// "| L-04 | what happens | what we promise |" in docs/failures.md.
	scenarioRow = regexp.MustCompile(`(?m)^\| ([ELRPXKM]-\d{2}) \| ([^|\n]+) \| ([^|\n]+) \|$`)
)

// TestEveryScenarioHasATest: each failure of the catalogue is in the name of a test.
func TestEveryScenarioHasATest(t *testing.T) {
	t.Parallel()
	var texts []string
	walk(t, "../..", func(name string, text []byte) {
		if strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "internal/fence/") {
			texts = append(texts, string(text))
		}
	})
	rows := failures(t)
	for _, id := range untested(texts) {
		t.Errorf("no test has %s in its name: put it into one that shows this.\nwhat happens:    %s\nwhat we promise: %s", id,
			rows[id].happens, rows[id].promise)
	}
}

// failure is a row of docs/failures.md.
type failure struct{ happens, promise string }

// failures reads docs/failures.md, by id.
func failures(t *testing.T) map[string]failure {
	t.Helper()
	text, err := os.ReadFile("../../docs/failures.md")
	require.NoError(t, err)
	rows := map[string]failure{}
	for _, m := range scenarioRow.FindAllStringSubmatch(string(text), -1) {
		require.NotContains(t, rows, m[1], "docs/failures.md has two rows")
		rows[m[1]] = failure{happens: m[2], promise: m[3]}
	}
	return rows
}

// TestEveryScenarioHasARow: docs/failures.md has one row for each failure, and no other.
func TestEveryScenarioHasARow(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, untested(nil), slices.Collect(maps.Keys(failures(t))))
}

// untested lists the ids that none of the test files names.
func untested(texts []string) []string {
	tested := map[string]bool{}
	for _, text := range texts {
		for _, m := range scenarioTest.FindAllStringSubmatch(text, -1) {
			for _, id := range scenarioID.FindAllStringSubmatch(m[1], -1) {
				tested[id[1]+"-"+id[2]] = true
			}
		}
		for _, m := range scenarioCase.FindAllStringSubmatch(text, -1) {
			tested[m[1]+"-"+m[2]] = true
		}
	}
	var missing []string
	for family, n := range scenarios {
		for i := range n {
			if id := fmt.Sprintf("%c-%02d", family, i+1); !tested[id] {
				missing = append(missing, id)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func TestUntestedBites(t *testing.T) {
	t.Parallel()
	all := untested(nil)
	require.Len(t, all, 142)
	require.NotContains(t, untested([]string{"func TestE12AndE27States(t *testing.T) {"}), "E-27")
	require.Len(t, untested([]string{"func TestK01K02K03Corrupt(t *testing.T) {", `	"P-04 shared": {`}), len(all)-4)
	require.Equal(t, all, untested([]string{
		"func helperE01() {}", "func TestSomethingE01(t *testing.T) {",
		"// E-01", `"E-1"`,
	}))
}
