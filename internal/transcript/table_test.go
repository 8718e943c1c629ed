package transcript

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const sloppy = `# Two workers.
balance: no
LEASE OWNER STATE
0 a -
10 worker-b expired,overdue
WORKER CPU
a 90`

const tidy = `# Two workers.
balance: no
LEASE  OWNER     STATE
0      a         -
10     worker-b  expired,overdue
WORKER  CPU
a       90`

func TestAlign(t *testing.T) {
	t.Parallel()
	require.Equal(t, tidy, align(sloppy))
	require.Equal(t, tidy, align(tidy))
	require.Equal(t, "me a\n0 b  expired", align("me a\n0 b  expired"), "no table has a header here")
}

func TestParse(t *testing.T) {
	t.Parallel()
	s := Parse(t, sloppy, Format{"": {"balance"}, "LEASE": {"OWNER", "STATE"}, "WORKER": {"CPU"}})
	require.Equal(t, map[string]string{"balance": "no"}, s.Settings)
	require.Equal(t, map[string][]Row{
		"LEASE":  {{"LEASE": "0", "OWNER": "a"}, {"LEASE": "10", "OWNER": "worker-b", "STATE": "expired,overdue"}},
		"WORKER": {{"WORKER": "a", "CPU": "90"}},
	}, s.Tables)
}
