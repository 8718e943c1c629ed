package fence

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scenarios is the catalogue of failures: how many each family has. L is
// leasing, R resharding, E enhanced fan-out, P polling, X processing and
// checkpoints, K aggregated records.
var scenarios = map[byte]int{'L': 31, 'R': 23, 'E': 29, 'P': 17, 'X': 19, 'K': 12}

var (
	// TestE01SilentConnection, TestE12AndE27ConsumerStates, TestK01K02CorruptAggregates.
	scenarioTest = regexp.MustCompile(`(?m)^func Test((?:(?:And)?[ELRPXK]\d{2})+)`)
	// "E-01 with a cut" as the name of a case.
	scenarioCase = regexp.MustCompile(`"([ELRPXK])-(\d{2})\b`)
	scenarioID   = regexp.MustCompile(`([ELRPXK])(\d{2})`)
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
	require.Empty(t, untested(texts), "scenarios without a test: put the id into the name of one")
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
	require.Len(t, all, 131)
	require.NotContains(t, untested([]string{"func TestE12AndE27States(t *testing.T) {"}), "E-27")
	require.Len(t, untested([]string{"func TestK01K02K03Corrupt(t *testing.T) {", `	"P-04 shared": {`}), len(all)-4)
	require.Equal(t, all, untested([]string{"func helperE01() {}", "func TestSomethingE01(t *testing.T) {", "// E-01", `"E-1"`}))
}
