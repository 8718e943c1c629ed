package dynamodb

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// javaItem is an item as a Java worker writes it.
type javaItem struct {
	Name  string
	Lease bool
	Item  dynamotest.Item
	Raw   json.RawMessage `json:"-"`
}

func javaItems(t testing.TB) []javaItem {
	t.Helper()
	b, err := os.ReadFile("testdata/java-items.json")
	require.NoError(t, err)
	var items []javaItem
	require.NoError(t, json.Unmarshal(b, &items))
	return items
}

// toSDK turns an item of the fake into an item of the SDK.
func toSDK(it dynamotest.Item) item {
	out := item{}
	for name, v := range it {
		out[name] = valueToSDK(v)
	}
	return out
}

func valueToSDK(v dynamotest.Value) types.AttributeValue {
	switch v.Type {
	case "S":
		return str(v.Text)
	case "N":
		return num(v.Text)
	case "B":
		return &types.AttributeValueMemberB{Value: []byte(v.Text)}
	case "BOOL":
		return &types.AttributeValueMemberBOOL{Value: v.Bool}
	case "SS":
		return &types.AttributeValueMemberSS{Value: v.Set}
	case "NS":
		return &types.AttributeValueMemberNS{Value: v.Set}
	case "BS":
		return &types.AttributeValueMemberBS{}
	case "L":
		return &types.AttributeValueMemberL{Value: make([]types.AttributeValue, len(v.List))}
	case "M":
		return &types.AttributeValueMemberM{Value: toSDK(v.Map)}
	}
	return &types.AttributeValueMemberNULL{Value: true}
}

// TestJavaItems: every lease that Java wrote is decoded, and encoded as it was. Items of other
// kinds are not read as leases.
func TestJavaItems(t *testing.T) {
	t.Parallel()
	for _, j := range javaItems(t) {
		it := toSDK(j.Item)
		require.Equal(t, j.Lease, isLease(it), j.Name)
		if !j.Lease {
			continue
		}
		l, bad := decode(it)
		require.Nil(t, bad, j.Name)
		require.True(t, strings.HasSuffix(l.Key, l.ShardID), j.Name)
		again, err := encode(l)
		require.NoError(t, err, j.Name)
		if it[attrEntityType] == nil { // of KCL 2
			delete(again, attrEntityType)
		}
		requireItem(t, it, again)
	}
}

// requireItem compares items. It compares numbers by value.
func requireItem(t *testing.T, want, got item) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name, v := range want {
		if n, ok := v.(*types.AttributeValueMemberN); ok {
			require.IsType(t, v, got[name])
			a, err := parseDecimal(n.Value)
			require.NoError(t, err)
			b, err := parseDecimal(got[name].(*types.AttributeValueMemberN).Value)
			require.NoError(t, err)
			require.Zero(t, a.Cmp(b), "%s: %s and %s", name, a, b)
			continue
		}
		require.Equal(t, v, got[name], name)
	}
}

func TestDecodeJavaAttributes(t *testing.T) {
	t.Parallel()
	items := map[string]leases.Lease{}
	for _, j := range javaItems(t) {
		if j.Lease {
			l, bad := decode(toSDK(j.Item))
			require.Nil(t, bad)
			items[j.Name] = l
		}
	}
	require.Equal(t, leases.Lease{
		Key: "shardId-000000000002", ShardID: "shardId-000000000002", Owner: "fleet-w2", CheckpointOwner: "fleet-w1",
		Counter: 29,
		Checkpoint: kcl.ExtendedSequenceNumber{
			SequenceNumber: "49680000000000000000000000000000000000000000000000000002",
		},
		HashKeyRange:   kcl.HashKeyRange{Start: "0", End: "85070591730234615865843651857942052863"},
		ThroughputKBps: 0.001679,
	}, items["3.5 handed over"])
	require.Equal(t, leases.Lease{
		Key: "123456789012:orders:1700000000:shardId-000000000000", Stream: "123456789012:orders:1700000000",
		ShardID: "shardId-000000000000",
		Owner:   "fleet-w1", Counter: 5, Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "LATEST"},
		HashKeyRange:   kcl.HashKeyRange{Start: "0", End: "85070591730234615865843651857942052863"},
		ThroughputKBps: -1,
	}, items["3.5 several streams"])
	require.Equal(t, []string{"shardId-000000000004", "shardId-000000000005"}, items["2.7 child of a merge"].Parents)
	require.Equal(t, []string{"shardId-000000000004", "shardId-000000000005"}, items["2.7 shard end"].Children)
	require.True(t, items["2.7 shard end"].Finished())
	require.Equal(t, []byte("state"), items["2.7 prepared"].PendingState)
	require.Equal(t,
		kcl.ExtendedSequenceNumber{
			SequenceNumber: "49680000000000000000000000000000000000000000000000000009", SubSequenceNumber: 1,
		},
		items["2.7 prepared"].Pending)
}

// TestL18PoisonedItems: every damaged item is an error of its own. The error names the attribute,
// its value and a remedy.
func TestL18PoisonedItems(t *testing.T) {
	t.Parallel()
	good := func() item {
		return item{
			attrKey: str("shardId-000000000000"), attrCounter: num("1"), "ownerSwitchesSinceCheckpoint": num("0"),
			attrCheckpoint: str("LATEST"), "checkpointSubSequenceNumber": num("0"),
		}
	}
	_, bad := decode(good())
	require.Nil(t, bad)
	for name, tt := range map[string]struct {
		attribute string
		value     types.AttributeValue // nil: missing
		want      string
	}{
		"no counter":      {attrCounter, nil, "attribute leaseCounter is missing, want a number (N)"},
		"counter as text": {attrCounter, str("1"), `attribute leaseCounter is S "1", want a number (N)`},
		"counter overflow": {
			attrCounter, num("9223372036854775808"),
			`attribute leaseCounter is N "9223372036854775808", want a whole number from 0 to 4611686018427387904`,
		},
		"counter of an ill will": {attrCounter, num("1E125"), "want a whole number from 0 to"},
		"counter is a fraction":  {attrCounter, num("1.5"), "want a whole number from 0 to"},
		"counter is negative":    {attrCounter, num("-1"), "want a whole number from 0 to"},
		"no switches":            {"ownerSwitchesSinceCheckpoint", nil, "attribute ownerSwitchesSinceCheckpoint is missing"},
		"no checkpoint":          {attrCheckpoint, nil, "attribute checkpoint is missing"},
		"empty checkpoint":       {attrCheckpoint, str(""), `attribute checkpoint is S "", want a sequence number`},
		"misspelt sentinel": {
			attrCheckpoint, str("SHARD_ENDS"), `attribute checkpoint is S "SHARD_ENDS", want decimal digits`,
		},
		"checkpoint as number": {attrCheckpoint, num("123"), `attribute checkpoint is N "123", want a string (S)`},
		"control characters":   {attrCheckpoint, str("1\x1b[31m\n2"), `S "1\x1b[31m\n2"`},
		"megabyte of text":     {attrCheckpoint, str(strings.Repeat("x", 400_000)), `xxx..., want decimal digits`},
		"sub is negative":      {"checkpointSubSequenceNumber", num("-1"), "attribute checkpointSubSequenceNumber"},
		"owner as bytes": {attrOwner, &types.AttributeValueMemberB{
			Value: []byte{1},
		}, `attribute leaseOwner is B "\x01", want a string (S)`},
		"pending is junk": {"pendingCheckpoint", str("soon"), `attribute pendingCheckpoint is S "soon"`},
		"state as text":   {"pendingCheckpointState", str("state"), "attribute pendingCheckpointState"},
		"parents as text": {
			"parentShardId", str("shardId-000000000000"),
			`attribute parentShardId is S "shardId-000000000000", want a set of strings (SS)`,
		},
		"children as list": {
			"childShardIds", &types.AttributeValueMemberL{}, "attribute childShardIds is a list (L) of 0",
		},
		"half a hash range":      {"startingHashKey", str("0"), "attribute startingHashKey"},
		"throughput is negative": {"throughputKBps", num("-1"), "attribute throughputKBps"},
		"pinned before 1970":     {"goPinnedAt", num("-5"), `attribute goPinnedAt is N "-5", want seconds since 1970`},
		"origin is junk": {
			"goOrigin", str("LATEST"),
			`attribute goOrigin is S "LATEST", want TRIM_HORIZON, or LATEST or AT_TIMESTAMP with a time`,
		},
		"application is a list": {"goApp", &types.AttributeValueMemberL{}, "attribute goApp is a list (L) of 0"},
		"reached is negative":   {"goReached", num("-1"), "attribute goReached"},
		"abilities are text":    {"goCan", str("1"), "attribute goCan"},
		"stream without shard":  {attrStream, str("123456789012:orders:1"), "attribute shardId is missing"},
		"entityType as number":  {attrEntityType, num("1"), "attribute entityType"},
	} {
		it := good()
		delete(it, tt.attribute)
		if tt.value != nil {
			it[tt.attribute] = tt.value
		}
		require.True(t, isLease(it), name)
		_, bad := decode(it)
		require.NotNil(t, bad, name)
		require.Equal(t, "shardId-000000000000", bad.Key)
		require.ErrorContains(t, bad, tt.want, name)
		require.ErrorContains(t, bad, "correct the attributes, or delete the item", name)
		require.Less(t, len(bad.Error()), 600, name)
	}
}

func TestNeverWriteWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := leases.Lease{
		Key: "a", ShardID: "a", Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "LATEST"}, ThroughputKBps: -1,
	}
	_, err := encode(good)
	require.NoError(t, err)
	for want, change := range map[string]func(*leases.Lease){
		"checkpoint:":        func(l *leases.Lease) { l.Checkpoint = kcl.ExtendedSequenceNumber{} },
		"leaseCounter -1":    func(l *leases.Lease) { l.Counter = -1 },
		"pendingCheckpoint:": func(l *leases.Lease) { l.Pending.SequenceNumber = "soon" },
		"hash key range":     func(l *leases.Lease) { l.HashKeyRange.Start = "1" },
		"goPinnedAt":         func(l *leases.Lease) { l.PinnedAt = time.Unix(-1, 0) },
		"goOrigin":           func(l *leases.Lease) { l.Origin = leases.Origin{Kind: "LATEST"} },
		"goCan -1":           func(l *leases.Lease) { l.Abilities = -1 },
		"throughputKBps":     func(l *leases.Lease) { l.ThroughputKBps = 1e300 },
	} {
		l := good
		change(&l)
		_, err := encode(l)
		require.ErrorContains(t, err, want)
	}
}

// FuzzDecode: any item is a lease, no lease or a RowError, and never a panic. A lease that was
// decoded is encoded in a form that decodes to the same lease, and is encoded the same way again.
func FuzzDecode(f *testing.F) {
	for _, j := range javaItems(f) {
		b, err := json.Marshal(j.Item)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"leaseKey":{"S":"a"},"leaseCounter":{"N":"1E2"},"ownerSwitchesSinceCheckpoint":{"N":"0"},` +
		`"checkpoint":{"S":"0"},"goPinnedAt":{"N":"1.5"},"goStreamCreated":{"N":"1.7E9"},"goOwner":{"S":""},` +
		`"goApp":{"S":"a"},"goStream":{"S":"b"},"goOrigin":{"S":"LATEST@2026-01-31T08:00:00Z"},"goPaused":{"S":"c"},` +
		`"goHandoverTo":{"S":"w"},"goReset":{"S":"d"},"goReached":{"N":"0"},"goCan":{"N":"3"},` +
		`"pendingCheckpointState":{"B":""}}`))
	f.Add([]byte(`{"leaseKey":{"S":"a"},"leaseCounter":{"NULL":true},"checkpoint":{"L":[{"M":{}}]},` +
		`"parentShardId":{"NS":["1"]},"throughputKBps":{"N":"1E125"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw dynamotest.Item
		if json.Unmarshal(b, &raw) != nil {
			return
		}
		it := toSDK(raw)
		isLease(it)
		l, bad := decode(it)
		if bad != nil {
			require.NotEmpty(t, bad.Error())
			return
		}
		first, err := encode(l)
		require.NoError(t, err)
		again, bad := decode(first)
		require.Nil(t, bad)
		require.True(t, l.Same(leases.AttrAll, again), "%+v\n%+v", l, again)
		require.Equal(t, []string{l.Key, l.Stream, l.ShardID}, []string{again.Key, again.Stream, again.ShardID})
		second, err := encode(again)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}
