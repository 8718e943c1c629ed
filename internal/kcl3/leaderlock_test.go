package kcl3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

const sec = time.Second

func TestLockWatch(t *testing.T) {
	t.Parallel()
	java := func(version string) *leases.LeaderLock {
		return &leases.LeaderLock{Owner: "java", Version: version, Duration: 120 * sec}
	}
	type look struct {
		at   time.Duration
		read *leases.LeaderLock
		free bool
	}
	tests := map[string][]look{
		"absent": {{0, nil, true}},
		"released": {
			{0, &leases.LeaderLock{Owner: "java", Version: "1", Duration: 120 * sec, Released: true}, true},
		},
		"held": {
			{0, java("1"), false},
			{119 * sec, java("1"), false},
			{120 * sec, java("1"), false},
			{120*sec + 1, java("1"), true},
		},
		"heartbeats": {
			{0, java("1"), false},
			{100 * sec, java("2"), false},
			{200 * sec, java("2"), false},
			{221 * sec, java("2"), true},
		},
		"looked at twice only":  {{0, java("1"), false}, {500 * sec, java("1"), true}},
		"a machine just booted": {{sec, java("1"), false}, {122 * sec, java("1"), true}},
		"short duration": {
			{0, &leases.LeaderLock{Owner: "go", Version: "1", Duration: 20 * sec}, false},
			{21 * sec, &leases.LeaderLock{Owner: "go", Version: "1", Duration: 20 * sec}, true},
		},
		"duration is not told": {
			{0, &leases.LeaderLock{Owner: "x", Version: "1"}, false},
			{21 * sec, &leases.LeaderLock{Owner: "x", Version: "1"}, false},
			{121 * sec, &leases.LeaderLock{Owner: "x", Version: "1"}, true},
		},
		"duration is changed": {
			{0, &leases.LeaderLock{Owner: "x", Version: "1", Duration: 20 * sec}, false},
			{21 * sec, &leases.LeaderLock{Owner: "x", Version: "1", Duration: 120 * sec}, false},
		},
		"released, then taken": {
			{0, &leases.LeaderLock{Version: "1", Released: true, Duration: sec}, true},
			{500 * sec, java("2"), false},
			{621 * sec, java("2"), true},
		},
		"absent, then taken": {{0, nil, true}, {500 * sec, java("1"), false}},
		"another owner, version 1": {
			{0, java("1"), false},
			{121 * sec, &leases.LeaderLock{Owner: "go", Version: "1", Duration: 20 * sec}, false},
		},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w LockWatch
			require.False(t, w.Free(1000*sec), "nothing was seen")
			require.Zero(t, w.Wait(0), "look at once")
			for _, l := range looks {
				w.Observe(l.read, l.at)
				require.Equal(t, l.free, w.Free(l.at), "at %v", l.at)
				if l.free {
					require.Zero(t, w.Wait(l.at))
				} else {
					wait := w.Wait(l.at)
					require.Positive(t, wait)
					require.LessOrEqual(t, wait, LockHeartbeat)
				}
			}
		})
	}
}

// TestLockWatchOwnsWhatItSees: the caller may go on using its variable.
func TestLockWatchOwnsWhatItSees(t *testing.T) {
	t.Parallel()
	var w LockWatch
	l := leases.LeaderLock{Owner: "x", Version: "1", Duration: 20 * sec}
	w.Observe(&l, 0)
	l.Version = "2"
	w.Observe(&l, 15*sec)
	require.False(t, w.Free(30*sec))
}

func TestNeglect(t *testing.T) {
	t.Parallel()
	const failover = 10 * sec // patience: 32.5 s
	held := func(owner string, counter int64) Row {
		return Row{Lease: leases.Lease{Key: "0", Owner: owner, Counter: counter}}
	}
	expired := func(owner string, counter int64) Row {
		r := held(owner, counter)
		r.Expired = true
		return r
	}
	finished := held("", 1)
	finished.Checkpoint.SequenceNumber = "SHARD_END"
	type scan struct {
		at     time.Duration
		row    Row
		rescue bool
	}
	tests := map[string][]scan{
		"free": {
			{0, held("", 0), false},
			{9 * sec, held("", 0), false},
			{18 * sec, held("", 0), false},
			{27 * sec, held("", 0), false},
			{32 * sec, held("", 0), false},
			{33 * sec, held("", 0), true},
		},
		"expired": {
			{11 * sec, expired("a", 5), false},
			{20 * sec, expired("a", 5), false},
			{29 * sec, expired("a", 5), false},
			{33 * sec, expired("a", 5), false},
			{34 * sec, expired("a", 5), true},
		},
		"finished": {
			{0, finished, false},
			{9 * sec, finished, false},
			{18 * sec, finished, false},
			{27 * sec, finished, false},
			{36 * sec, finished, false},
		},
		"held": {
			{0, held("a", 0), false},
			{9 * sec, held("a", 1), false},
			{18 * sec, held("a", 2), false},
			{27 * sec, held("a", 3), false},
			{36 * sec, held("a", 4), false},
		},
		"assigned to a living worker": {
			{0, held("", 0), false},
			{9 * sec, held("a", 1), false},
			{18 * sec, held("a", 2), false},
			{27 * sec, held("a", 3), false},
			{36 * sec, expired("a", 3), false},
		},
		"assigned to a dead worker": {
			{0, held("", 0), false},
			{9 * sec, held("a", 1), false},
			{18 * sec, held("a", 1), false},
			{27 * sec, expired("a", 1), false},
			{33 * sec, expired("a", 1), true},
		},
		"not while it may be picked up": {
			{0, held("", 0), false},
			{9 * sec, held("", 0), false},
			{18 * sec, held("", 0), false},
			{27 * sec, held("", 0), false},
			{33 * sec, held("a", 1), false},
		},
		"the table could not be listed": {
			{0, held("", 0), false},
			{33 * sec, held("", 0), false},
			{40 * sec, held("", 0), false},
		},
	}
	for name, scans := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n NeglectWatch
			for _, s := range scans {
				require.Equal(t, s.rescue, n.Observe(s.at, []Row{s.row}, failover, failover*105/100)["0"], "at %v", s.at)
			}
		})
	}
	require.Equal(t, 32500*time.Millisecond, patienceWithLeader(failover, failover*105/100))
}
