package smallworld

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/memory"
)

// TestRowsActLikeAStore: the rows of this world answer conditional writes as leases/memory does.
func TestRowsActLikeAStore(t *testing.T) {
	t.Parallel()
	const attributes = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrNativeOwner |
		leases.AttrCounter | leases.AttrOwnerSwitches | leases.AttrCheckpoint | leases.AttrChildren
	random := rand.New(rand.NewPCG(1, 2))
	f := families()["chain"]
	number := func(n int) uint8 { return uint8(random.IntN(n)) }
	anyRow := func() row {
		return row{
			there: true, owner: number(2), checkpointOwner: number(2), handoverTo: number(2), native: number(2),
			counter: number(2), switches: number(2), checkpoint: number(3), children: number(2) == 1,
		}
	}
	anySet := func() leases.Attr {
		set := attributes
		for a := leases.Attr(1); a < leases.AttrAll; a <<= 1 {
			if random.IntN(3) > 0 {
				set &^= a
			}
		}
		return set
	}
	store := memory.New()
	var now row
	accepted := 0
	for range 20_000 {
		w := write{read: now, to: anyRow(), expect: anySet(), set: anySet()}
		if !now.there || random.IntN(2) == 0 {
			w.read = anyRow()
		}
		var after row
		var ok bool
		var err error
		switch read := f.lease(0, w.read); random.IntN(8) {
		case 0:
			if after, ok = w.to, !now.there; !ok {
				after = now
			}
			err = store.Create(t.Context(), f.lease(0, w.to))
		case 1:
			after, ok = now.remove(w.read, w.expect)
			ok = ok || !now.there // a store accepts the deletion of no row
			err = store.Delete(t.Context(), read, w.expect)
		default:
			after, ok = now.update(w)
			err = store.Update(t.Context(), leases.Update{Read: read, To: f.lease(0, w.to), Expect: w.expect, Set: w.set})
		}
		require.Equal(t, err == nil, ok)
		l, err := store.Get(t.Context(), f.list[0].ID)
		require.Equal(t, errors.Is(err, leases.ErrNotFound), !after.there)
		if after.there {
			require.NoError(t, err)
			require.Equal(t, after, rowOf(l))
		}
		if ok {
			accepted++
		}
		now = after
	}
	require.Greater(t, accepted, 1000)
}

// TestStatesSurviveTheirEncoding: the search keeps states as bytes.
func TestStatesSurviveTheirEncoding(t *testing.T) {
	t.Parallel()
	d := newWorld(theRules(), families()["merge"], 2)
	for _, s := range d.starts() {
		for range 200 {
			steps := d.steps(&s, nil)
			require.Empty(t, d.apply(&s, steps[rand.IntN(len(steps))]))
			s.forget()
			b, n := d.canonical(&s, nil)
			require.Equal(t, s.renamed(n), decode(b))
			renamed := decode(b)
			again, _ := d.canonical(&renamed, nil)
			require.Equal(t, b, again)
		}
	}
}
