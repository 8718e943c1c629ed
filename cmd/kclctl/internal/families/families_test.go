package families

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// row returns the row of a shard. Its name is the shard, with the stream before a slash if there
// are several streams.
func row(name string, parents ...string) leases.Lease {
	stream, id, ok := strings.Cut(name, "/")
	if !ok {
		stream, id = "", name
	}
	return leases.Lease{Stream: stream, ShardID: id, Parents: parents}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows  []leases.Lease
		order string   // shards, parents before their children
		kin   []string // the shards of each family
	}{
		"no rows":   {nil, "", nil},
		"strangers": {[]leases.Lease{row("b"), row("a")}, "b a", []string{"b", "a"}},
		"split, children first": {
			[]leases.Lease{row("left", "a"), row("right", "a"), row("a")},
			"a left right",
			[]string{"left right a"},
		},
		"merge": {[]leases.Lease{row("c", "a", "b"), row("a"), row("b")}, "a b c", []string{"c a b"}},
		"merge joins two families": {
			[]leases.Lease{row("b", "a"), row("a"), row("d", "c"), row("c"), row("e", "b", "d")},
			"a b c d e",
			[]string{"b a d c e"},
		},
		"split and merged again": {
			[]leases.Lease{row("d", "b", "c"), row("c", "a"), row("b", "a"), row("a")},
			"a b c d",
			[]string{"d c b a"},
		},
		"five generations, youngest first": {
			[]leases.Lease{row("e", "d"), row("d", "c"), row("c", "b"), row("b", "a"), row("a")},
			"a b c d e",
			[]string{"e d c b a"},
		},
		"parent without a row":               {[]leases.Lease{row("b", "a")}, "b", []string{"b"}},
		"siblings whose parent has no row":   {[]leases.Lease{row("b", "a"), row("c", "a")}, "b c", []string{"b", "c"}},
		"the same shard of two streams":      {[]leases.Lease{row("s/b", "a"), row("t/a")}, "b a", []string{"b", "a"}},
		"foreign row that is its own parent": {[]leases.Lease{row("a", "a")}, "a", []string{"a"}},
		"families of two streams": {
			[]leases.Lease{row("s/b", "a"), row("t/b", "a"), row("t/a"), row("s/a")},
			"a b a b",
			[]string{"b a", "b a"},
		},
		"foreign rows in a circle": {
			[]leases.Lease{row("a", "c"), row("b", "a"), row("c", "b"), row("d")},
			"b c a d",
			[]string{"a b c", "d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			order, family := Order(c.rows)
			var ids []string
			for _, i := range order {
				ids = append(ids, c.rows[i].ShardID)
			}
			require.Equal(t, c.order, strings.Join(ids, " "))
			require.Equal(t, c.kin, kin(c.rows, family))
		})
	}
}

// kin lists the shards of each family, in the order of the rows.
func kin(rows []leases.Lease, family []int) (out []string) {
	place := map[int]int{} // by family
	for i, l := range rows {
		at, ok := place[family[i]]
		if !ok {
			place[family[i]] = len(out)
			out = append(out, l.ShardID)
			continue
		}
		out[at] += " " + l.ShardID
	}
	return out
}

// TestOrderOfALongLine: each of ten thousand rows comes after its parent.
func TestOrderOfALongLine(t *testing.T) {
	t.Parallel()
	const n = 10_000
	rows := make([]leases.Lease, n) // the youngest is first
	for i := range rows {
		rows[i] = row(fmt.Sprint(i), fmt.Sprint(i+1))
	}
	order, family := Order(rows)
	require.Len(t, order, n)
	for i, at := range order {
		require.Equal(t, n-1-i, at)
		require.Equal(t, family[0], family[at])
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failures []string // keys of rows of family 1
		family   int
		want     string // a part of the error; empty for none
	}{
		"no failure":         {nil, 1, ""},
		"a relative failed":  {[]string{"a"}, 1, "the related row a was not changed"},
		"the first is named": {[]string{"a", "b"}, 1, "the related row a was not changed"},
		"a stranger failed":  {[]string{"a"}, 2, ""},
		"the family is zero": {[]string{"a"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Failed{}
			for _, key := range c.failures {
				f.Add(1, key)
			}
			if c.want == "" {
				require.NoError(t, f.Check(c.family))
				return
			}
			require.ErrorContains(t, f.Check(c.family), c.want)
			require.ErrorContains(t, f.Check(c.family), "run the command again")
		})
	}
}
