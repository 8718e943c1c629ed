package dynamodb

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// recorded is an item that a worker of the KCL 2.7.2, 3.4.2 or 3.5.1 wrote.
type recorded struct {
	From string // fleet and moment
	Side string // CoordinatorState, WorkerMetricStats, or empty: the lease table
	Item json.RawMessage
}

func recordedItems(t testing.TB) []recorded {
	t.Helper()
	f, err := os.Open("testdata/java-fleets.jsonl")
	require.NoError(t, err)
	defer f.Close()
	var out []recorded
	for s := bufio.NewScanner(f); s.Scan(); {
		var r recorded
		require.NoError(t, json.Unmarshal(s.Bytes(), &r))
		out = append(out, r)
	}
	require.Len(t, out, 262)
	return out
}

// exactly reads an item from JSON. Its numbers keep their digits.
func exactly(t testing.TB, raw []byte) item {
	t.Helper()
	var in map[string]map[string]any
	require.NoError(t, json.Unmarshal(raw, &in))
	out := item{}
	for name, v := range in {
		out[name] = exactValue(t, v)
	}
	return out
}

func exactValue(t testing.TB, typed map[string]any) types.AttributeValue {
	t.Helper()
	for kind, v := range typed {
		switch kind {
		case "S":
			return str(v.(string))
		case "N":
			return num(v.(string))
		case "BOOL":
			return &types.AttributeValueMemberBOOL{Value: v.(bool)}
		case "SS":
			set := &types.AttributeValueMemberSS{}
			for _, e := range v.([]any) {
				set.Value = append(set.Value, e.(string))
			}
			return set
		case "L":
			list := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
			for _, e := range v.([]any) {
				list.Value = append(list.Value, exactValue(t, e.(map[string]any)))
			}
			return list
		case "M":
			m := &types.AttributeValueMemberM{Value: item{}}
			for name, e := range v.(map[string]any) {
				m.Value[name] = exactValue(t, e.(map[string]any))
			}
			return m
		}
	}
	require.Fail(t, "value of another type", "%v", typed)
	return nil
}

// written shows every character of an item. Equal items have equal texts.
func written(it item) string {
	var show func(v types.AttributeValue) string
	show = func(v types.AttributeValue) string {
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			return "S:" + v.Value
		case *types.AttributeValueMemberN:
			return "N:" + v.Value
		case *types.AttributeValueMemberB:
			return "B:" + base64.StdEncoding.EncodeToString(v.Value)
		case *types.AttributeValueMemberSS:
			return "SS:" + strings.Join(slices.Sorted(slices.Values(v.Value)), ",")
		case *types.AttributeValueMemberL:
			var s []string
			for _, e := range v.Value {
				s = append(s, show(e))
			}
			return "[" + strings.Join(s, " ") + "]"
		case *types.AttributeValueMemberM:
			return "{" + written(v.Value) + "}"
		}
		return fmt.Sprintf("%T %v", v, v)
	}
	var s []string
	for _, name := range slices.Sorted(maps.Keys(it)) {
		s = append(s, name+"="+show(it[name]))
	}
	return strings.Join(s, "\n")
}

// fleetTables returns the lease table t and its side tables.
func fleetTables() *routes {
	cfg := Config{Table: "t"}
	return newRoutes(cfg, newTable(cfg))
}

// TestRecordedItems: every item that a Java worker wrote is read as its kind. Written again, it is
// the same, character by character.
func TestRecordedItems(t *testing.T) {
	t.Parallel()
	tables := fleetTables()
	kinds := map[string]int{}
	for _, r := range recordedItems(t) {
		it := exactly(t, r.Item)
		p := map[string]*table{
			"": tables.leaseTable, "CoordinatorState": tables.coordinator, "WorkerMetricStats": tables.metrics,
		}[r.Side]
		var again item
		switch key := textOf(it, p.key); {
		case r.Side == "" && isLease(it):
			kinds["lease"]++
			require.False(t, isWorker(it), r.From)
			l, bad := decode(it)
			require.Nil(t, bad, r.From)
			var err error
			again, err = encode(l)
			require.NoError(t, err, r.From)
			if it[attrEntityType] == nil { // before KCL 3.5
				delete(again, attrEntityType)
			}
		case r.Side == "WorkerMetricStats", r.Side == "" && isWorker(it):
			kinds["worker"]++
			m, bad := decodeWorker(p, it)
			require.Nil(t, bad, r.From)
			require.Equal(t, r.Side != "", m.InSideTable)
			require.False(t, m.Native)
			var err error
			again, _, err = encodeWorker(p, m)
			require.NoError(t, err, r.From)
		case key == keyLeader:
			kinds["lock"]++
			l, bad := decodeLock(it, p.key)
			require.Nil(t, bad, r.From)
			var err error
			again, err = encodeLock(p, *l)
			require.NoError(t, err, r.From)
		case key == keyClientVersion:
			kinds["migration"]++
			m, bad := decodeMigration(it, p.key, attrClientVersion)
			require.Nil(t, bad, r.From)
			var err error
			again, err = encodeState(attrClientVersion, m)
			require.NoError(t, err, r.From)
			maps.Copy(again, p.entity(keyClientVersion, entityClientVersion))
			// The history is written as if the state replaced the state before it.
			h := it[attrHistory].(*types.AttributeValueMemberL).Value
			before := maps.Clone(h[0].(*types.AttributeValueMemberM).Value)
			if len(h) > 1 {
				before[attrHistory] = &types.AttributeValueMemberL{Value: h[1:]}
			}
			addHistory(again, before, attrClientVersion)
		default:
			require.Fail(t, "item of no kind", "%s %s", r.From, r.Item)
		}
		require.Equal(t, written(it), written(again), r.From)
	}
	require.Equal(t, map[string]int{"lease": 204, "worker": 37, "lock": 15, "migration": 6}, kinds)
}

// TestRecordedWorkerOnECS reads the metrics of a Java worker that measures its CPU.
func TestRecordedWorkerOnECS(t *testing.T) {
	t.Parallel()
	var found []leases.WorkerMetrics
	tables := fleetTables()
	for _, r := range recordedItems(t) {
		if it := exactly(t, r.Item); r.From == "ecs-worker-metrics" && isWorker(it) {
			m, bad := decodeWorker(tables.leaseTable, it)
			require.Nil(t, bad)
			found = append(found, m)
		}
	}
	require.Len(t, found, 1)
	require.Equal(t, map[string][]float64{"C": {50, 50, 50, 50, 50}}, found[0].Stats)
	require.Equal(t, map[string][]float64{"C": {100}}, found[0].Range)
	require.Equal(t, int64(1795362479), found[0].Updated.Unix())
	require.Equal(t, found[0].Updated, found[0].SupportUpdated)
	require.Equal(t, 1, found[0].Support)
}
