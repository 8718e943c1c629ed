package cpu

import (
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// Four processors, one of which worked for ten of forty seconds.
	four   = "cpu0 1 1 1 1 1\ncpu1 1 1 1 1 1\ncpu2 1 1 1 1 1\ncpu3 1 1 1 1 1\n"
	before = "cpu  100 0 100 1000 0 0 0 0 50 0\n" + four + "intr 5\n"
	after  = "cpu  700 100 200 3800 200 0 100 100 500 0\n" + four + "intr 9\n"
)

func TestUsed(t *testing.T) {
	t.Parallel()
	type files = map[string][2]string // before and ten seconds later
	machine := [2]string{before, after}
	v1 := files{
		"proc/stat": machine,
		"proc/self/cgroup": {
			"4:cpu,cpuacct:/docker/x\n3:cpuset:/docker/x",
			"4:cpu,cpuacct:/docker/x\n3:cpuset:/docker/x",
		},
		"sys/fs/cgroup/cpuacct/cpuacct.usage": {"1000000000", "6000000000"},
		"sys/fs/cgroup/cpu/cpu.cfs_quota_us": {
			"100000",
			"100000",
		},
		"sys/fs/cgroup/cpu/cpu.cfs_period_us": {"100000", "100000"},
	}
	for name, tt := range map[string]struct {
		files files
		want  float64
		ok    bool
	}{
		"nothing":   {files{}, 0, false},
		"machine":   {files{"proc/stat": machine}, 25, true},
		"idle":      {files{"proc/stat": {before, before}}, 0, false},
		"gibberish": {files{"proc/stat": {before, "cpu a b c d e"}}, 0, false},
		"a quota of half a processor": {files{
			"proc/stat": machine, "proc/self/cgroup": {"0::/a", "0::/a"},
			"sys/fs/cgroup/a/cpu.stat": {"usage_usec 1000000\nuser_usec 5", "usage_usec 3000000\nuser_usec 5"},
			"sys/fs/cgroup/a/cpu.max":  {"50000 100000", "50000 100000"},
		}, 40, true},
		"a container": {files{
			"proc/stat": machine, "proc/self/cgroup": {"0::/../../x", "0::/../../x"},
			"sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 5000000"},
			"sys/fs/cgroup/cpu.max":  {"100000 100000", "100000 100000"},
		}, 50, true},
		"no quota": {files{
			"proc/stat": machine, "sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 5000000"},
			"sys/fs/cgroup/cpu.max": {"max 100000", "max 100000"},
		}, 25, true},
		"two of the four processors": {files{
			"proc/stat": machine, "sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 5000000"},
			"sys/fs/cgroup/cpu.max":               {"max 100000", "max 100000"},
			"sys/fs/cgroup/cpuset.cpus.effective": {"0,2", "0,2"},
		}, 25, true},
		"more than the machine has": {files{
			"proc/stat": machine, "sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 1"},
			"sys/fs/cgroup/cpu.max": {"800000 100000", "800000 100000"},
		}, 25, true},
		"the quota changes": {files{
			"proc/stat": machine, "sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 5000000"},
			"sys/fs/cgroup/cpu.max": {"100000 100000", "200000 100000"},
		}, 0, false},
		"version 1": {v1, 50, true},
		"bursts above the quota": {files{
			"proc/stat": machine, "sys/fs/cgroup/cpu.stat": {"usage_usec 0", "usage_usec 15000000"},
			"sys/fs/cgroup/cpu.max": {"100000 100000", "100000 100000"},
		}, 100, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, now := 0, time.Unix(1_700_000_000, 0)
			look := func(i int) fs.FS {
				root := fstest.MapFS{}
				for name, texts := range tt.files {
					root[name] = &fstest.MapFile{Data: []byte(texts[i] + "\n")}
				}
				return root
			}
			m := &Meter{root: look(at), now: func() time.Time { return now }}
			_, ok := m.Used()
			require.False(t, ok, "since when?")
			m.root, now = look(1), now.Add(10*time.Second)
			got, ok := m.Used()
			require.Equal(t, tt.ok, ok)
			require.InDelta(t, tt.want, got, 0.01)
		})
	}
}

func TestProcessors(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]float64{
		"": 0, "0": 1, "0-3": 4, "0-3,8,10-11": 7, "3-0": 0, "x": 0, "-1": 0,
		"0-99999999": 0,
	} {
		require.InDelta(t, want, cpusIn(list), 0, list)
	}
}

// TestUsedHere: it may know nothing here, and must not fail.
func TestUsedHere(t *testing.T) {
	t.Parallel()
	m := NewMeter()
	_, ok := m.Used()
	require.False(t, ok)
	if percent, ok := m.Used(); ok {
		require.GreaterOrEqual(t, percent, 0.0)
		require.LessOrEqual(t, percent, 100.0)
	}
}
