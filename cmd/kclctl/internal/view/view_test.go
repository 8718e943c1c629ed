package view

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func TestStateAndOwner(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lease        leases.Lease
		state, owner string
	}{
		"free":      {leases.Lease{}, "free", "-"},
		"held":      {leases.Lease{Owner: "a"}, "held", "a"},
		"hand-over": {leases.Lease{Owner: "b", CheckpointOwner: "a"}, "hand-over pending", "a -> b"},
		"stolen by KCL 2.x": {leases.Lease{
			Owner: "java", CheckpointOwner: "a", Extension: leases.Extension{NativeOwner: "a", HandoverTo: "b"},
		}, "held", "java"},
		"finished, not given back": {leases.Lease{
			Owner: "a", Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd},
		}, "finished", "a"},
	} {
		require.Equal(t, c.state, State(c.lease), name)
		require.Equal(t, c.owner, Owner(c.lease), name)
	}
}

// Attributes that are not known are left out, and those of the Extension lie beside the others.
func TestRowInJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lease leases.Lease
		want  string
	}{
		"nothing is known": {
			leases.Lease{Key: "a", ShardID: "a", ThroughputKBps: -1},
			`{"key":"a","shardId":"a","state":"free","counter":0,"ownerSwitchesSinceCheckpoint":0,` +
				`"checkpoint":"","subSequenceNumber":0}`,
		},
		"no throughput, in a hand-over": {
			leases.Lease{
				Key: "a", ShardID: "a", Owner: "c", CheckpointOwner: "b", Counter: 7,
				Extension: leases.Extension{
					Application: "billing", PinnedAt: time.Unix(1, 0).In(time.FixedZone("", 3600)),
				},
			},
			`{"key":"a","shardId":"a","state":"hand-over pending","owner":"b","nextOwner":"c","counter":7,` +
				`"ownerSwitchesSinceCheckpoint":0,"checkpoint":"","subSequenceNumber":0,"throughputKBps":0,` +
				`"pinnedAt":"1970-01-01T00:00:01Z","application":"billing"}`,
		},
	} {
		got, err := json.Marshal(RowOf(c.lease))
		require.NoError(t, err)
		require.Equal(t, c.want, string(got), name)
	}
}

func TestBadRows(t *testing.T) {
	t.Parallel()
	bad := BadOf(&leases.RowError{Err: errors.Join(errors.New("a"), errors.New("b"))})
	require.Equal(t, BadRow{State: "bad", Reason: "a; b"}, bad)
	require.Equal(t, "(no key)", bad.Name())
	require.Equal(t, "0 leases", Summary(nil, nil))
	require.Equal(t, "0 leases; 1 row cannot be read", Summary(nil, []BadRow{bad}))
	rows := []Row{{State: stateFree}, {State: stateHeld}, {State: stateFree}}
	require.Equal(t, "3 leases: 1 held, 2 free; 2 rows cannot be read", Summary(rows, []BadRow{bad, bad}))
}

func TestListsOfNames(t *testing.T) {
	t.Parallel()
	names := []string{"g", "f", "e", "d", "c", "b", "a"}
	require.Equal(t, "a, b, c, d, e, and 2 more", Join(names))
	require.Equal(t, "g, f, and 5 more", First(2, names))
	require.Equal(t, []string{"g", "f", "e", "d", "c", "b", "a"}, names, "the caller's names stay")
	require.Empty(t, Join(nil))
}

func TestAttributesOfAnEmptyRow(t *testing.T) {
	t.Parallel()
	cells := Attributes(leases.Lease{Key: "a", ThroughputKBps: -1})
	require.Equal(t, [][]string{
		{"key", "a"}, {"state", "free"}, {"owner", "-"}, {"counter", "0"}, {"owner switches since checkpoint", "0"},
	}, cells)
	require.Contains(t, Attributes(leases.Lease{Key: "a", ThroughputKBps: 0.5}), []string{"throughput", "0.5 KB/s"})
}
