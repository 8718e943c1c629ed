package leasefault_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
)

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		i := leasefault.New(s)
		c := i.Store()
		boom := errors.New("boom")
		i.SetFault(leasefault.Failing(boom))
		require.ErrorIs(t, c.Create(t.Context(), leases.Lease{Key: "a"}), boom)
		_, err := s.Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound)

		i.SetFault(leasefault.Lossy(boom))
		require.ErrorIs(t, c.Create(t.Context(), leases.Lease{Key: "a"}), boom)
		_, err = c.Get(t.Context(), "a")
		require.NoError(t, err, "the write took effect")

		i.SetFault(leasefault.Slow(time.Second))
		begun := time.Now()
		require.NoError(t, c.Create(t.Context(), leases.Lease{Key: "b"}))
		require.Equal(t, time.Second, time.Since(begun))
	})
}

func TestSilentTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		i := leasefault.New(s)
		i.SetFault(leasefault.Silent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, i.Store().Create(ctx, leases.Lease{Key: "a"}), context.DeadlineExceeded)
		_, err := s.Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound)
	})
}

func TestLateWriteTakesEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		i := leasefault.New(s)
		i.SetFault(leasefault.Late(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, i.Store().Create(ctx, leases.Lease{Key: "a"}), context.DeadlineExceeded)
		_, err := i.Store().Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound, "a read is not late")
		time.Sleep(time.Second)
		synctest.Wait()
		_, err = s.Get(t.Context(), "a")
		require.NoError(t, err)
	})
}

func keysOf(t *testing.T, list func(context.Context) (leases.Listing, error)) (keys []string) {
	t.Helper()
	l, err := list(t.Context())
	require.NoError(t, err)
	for _, row := range l.Leases {
		keys = append(keys, row.Key)
	}
	return keys
}

func TestListLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := leasefault.New(memory.New())
		s := i.Store()
		require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "a"}))
		i.SetListLag(time.Second)
		require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "b"}))
		require.NoError(t, s.Delete(t.Context(), leases.Lease{Key: "a"}, 0))
		require.Equal(t, []string{"a"}, keysOf(t, s.List))
		require.Equal(t, []string{"b"}, keysOf(t, s.ListNow))
		time.Sleep(time.Second)
		require.Equal(t, []string{"b"}, keysOf(t, s.List))
	})
}

// TestListLagShowsEachVersion: a row that changes often is seen as it was one lag ago, whether or
// not its writes were accepted.
func TestListLagShowsEachVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := leasefault.New(memory.New())
		table.SetListLag(2500 * time.Millisecond)
		s := leasefault.New(table.Store()).Store()
		row := leases.Lease{Key: "a", Parents: []string{"p"}}
		require.NoError(t, s.Create(t.Context(), row))
		seen := func() int64 {
			l, err := s.List(t.Context())
			require.NoError(t, err)
			if len(l.Leases) == 0 {
				return -1
			}
			require.Equal(t, []string{"p"}, l.Leases[0].Parents)
			l.Leases[0].Parents[0] = "changed by the caller"
			return l.Leases[0].Counter
		}
		for n := range int64(20) {
			require.Equal(t, max(-1, n-3), seen(), "second %d", n)
			time.Sleep(time.Second)
			to := row
			to.Counter++
			update := leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter}
			require.NoError(t, s.Update(t.Context(), update))
			_, refused := errors.AsType[*leases.ConflictError](s.Update(t.Context(), update))
			require.True(t, refused)
			row = to
		}
		table.SetListLag(0)
		require.Equal(t, row.Counter, seen())
	})
}

func TestUnreadableRow(t *testing.T) {
	t.Parallel()
	i := leasefault.New(memory.New())
	s := i.Store()
	require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "a"}))
	require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "b"}))
	i.SetRowError("a", errors.New("leaseCounter is text"))
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 1)
	require.Len(t, l.Bad, 1)
	var bad *leases.RowError
	_, err = s.Get(t.Context(), "a")
	require.ErrorAs(t, err, &bad)
	require.ErrorAs(t, s.Create(t.Context(), leases.Lease{Key: "a"}), &bad)
	require.ErrorAs(t, s.Update(t.Context(), leases.Update{Read: leases.Lease{Key: "a"}}), &bad)

	i.SetRowError("a", nil)
	l, err = s.ListNow(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 2)
	require.Empty(t, l.Bad)
}
