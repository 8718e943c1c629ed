package shardsync

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/transcript"
	"github.com/kinesis-go/kcl/leases"
)

// scene is what most decisions are asked about.
type scene struct {
	transcript.Scene
	shards  []kcl.Shard
	rows    []leases.Lease
	initial kcl.InitialPosition
	opt     Options
}

// parseScene reads shards and leases. more are the further tables of a decision.
func parseScene(t *testing.T, input string, more transcript.Format) scene {
	format := transcript.Format{
		"":      {"initial position", "now"},
		"SHARD": {"PARENT", "KEYS", "STATE"},
		"LEASE": {"CHECKPOINT", "PINNED", "BEGAN", "OWNER", "CHILDREN", "KEYS", "PARENT"},
	}
	for name, columns := range more {
		format[name] = columns
	}
	s := scene{Scene: transcript.Parse(t, input, format)}
	for i, row := range s.Tables["SHARD"] {
		s.shards = append(s.shards, shardOf(t, i, row))
	}
	for _, row := range s.Tables["LEASE"] {
		s.rows = append(s.rows, leaseOf(t, row, s.shards))
	}
	if began := originOf(t, s.Settings["initial position"]); began.Kind != "" {
		s.initial = kcl.InitialPosition{Kind: map[string]kcl.PositionKind{
			kcl.SentinelTrimHorizon: kcl.TrimHorizon, kcl.SentinelLatest: kcl.Latest, kcl.SentinelAtTimestamp: kcl.AtTimestamp,
		}[began.Kind], Timestamp: began.At}
	}
	s.opt.PinnedAt = clock(t, s.Settings["now"])
	return s
}

func shardOf(t *testing.T, i int, row transcript.Row) kcl.Shard {
	s := kcl.Shard{ID: row["SHARD"], StartingSequenceNumber: fmt.Sprint(100 + i), HashKeyRange: keysOfCell(t, row["KEYS"])}
	if row["STATE"] == "closed" {
		s.EndingSequenceNumber = fmt.Sprint(200 + i)
	}
	if parents := words(row["PARENT"]); len(parents) > 0 {
		s.ParentID = parents[0]
		s.AdjacentParentID = strings.Join(parents[1:], "")
	}
	return s
}

func leaseOf(t *testing.T, row transcript.Row, list []kcl.Shard) leases.Lease {
	l := leases.Lease{
		Key: row["LEASE"], ShardID: row["LEASE"], Owner: row["OWNER"], Children: words(row["CHILDREN"]),
		Checkpoint: at(row["CHECKPOINT"]),
		Extension:  leases.Extension{PinnedAt: clock(t, row["PINNED"]), Origin: originOf(t, row["BEGAN"])},
	}
	if i := slices.IndexFunc(list, func(s kcl.Shard) bool { return s.ID == l.ShardID }); i >= 0 {
		l.Parents, l.HashKeyRange = list[i].Parents(), list[i].HashKeyRange
	}
	switch keys := row["KEYS"]; keys {
	case "":
	case "unknown":
		l.HashKeyRange = kcl.HashKeyRange{}
	default:
		l.HashKeyRange = keysOfCell(t, keys)
	}
	if parents := words(row["PARENT"]); len(parents) > 0 {
		l.Parents = parents
	}
	return l
}

// keysOfCell reads sixteenths of the hash keys; the second one is not included.
func keysOfCell(t *testing.T, cell string) kcl.HashKeyRange {
	if cell == "" {
		return kcl.HashKeyRange{}
	}
	var a, b int64
	_, err := fmt.Sscanf(cell, "%d..%d", &a, &b)
	require.NoError(t, err, cell)
	return part(a, b)
}

func keysText(t *testing.T, r kcl.HashKeyRange) string {
	s, ok := newSpan("", r)
	require.True(t, ok)
	sixteenths := func(n *big.Int) *big.Int { return new(big.Int).Rsh(n, 124) }
	return fmt.Sprintf("%d..%d", sixteenths(s.start), sixteenths(new(big.Int).Add(s.end, one)))
}

// originOf reads "LATEST@12:00".
func originOf(t *testing.T, cell string) leases.Origin {
	kind, at, _ := strings.Cut(cell, "@")
	return leases.Origin{Kind: kind, At: clock(t, at)}
}

func originText(o leases.Origin) string {
	if o.At.IsZero() {
		return o.Kind
	}
	return o.Kind + "@" + clockText(o.At)
}

// clock reads "12:00"; the zero time for an empty cell.
func clock(t *testing.T, cell string) time.Time {
	if cell == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.DateTime, "2026-01-05 "+cell+":00")
	require.NoError(t, err)
	return at
}

func clockText(at time.Time) string {
	if at.Equal(time.Unix(0, 0)) {
		return "1970"
	}
	return at.UTC().Format("15:04")
}

func words(cell string) []string {
	return strings.FieldsFunc(cell, func(r rune) bool { return r == ',' })
}

func duration(t *testing.T, cell string) time.Duration {
	d, err := time.ParseDuration(cell)
	require.NoError(t, err)
	return d
}
