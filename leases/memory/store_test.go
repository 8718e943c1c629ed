package memory_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/memory"
)

func TestStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(*testing.T) leases.Store { return memory.New() })
}

func TestClient(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(*testing.T) leases.Store { return memory.New().Client(nil) })
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		c := s.Client(nil)
		boom := errors.New("boom")
		c.SetFault(memory.Failing(boom))
		require.ErrorIs(t, c.Create(t.Context(), leases.Lease{Key: "a"}), boom)
		_, err := s.Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound)

		c.SetFault(memory.Lossy(boom))
		require.ErrorIs(t, c.Create(t.Context(), leases.Lease{Key: "a"}), boom)
		_, err = c.Get(t.Context(), "a")
		require.NoError(t, err, "the write took effect")

		c.SetFault(memory.Slow(time.Second))
		begun := time.Now()
		require.NoError(t, c.Create(t.Context(), leases.Lease{Key: "b"}))
		require.Equal(t, time.Second, time.Since(begun))
	})
}

func TestListLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "a"}))
		s.SetListLag(time.Second)
		require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "b"}))
		require.NoError(t, s.Delete(t.Context(), leases.Lease{Key: "a"}, 0))
		keys := func() (keys []string) {
			l, err := s.List(t.Context())
			require.NoError(t, err)
			for _, row := range l.Leases {
				keys = append(keys, row.Key)
			}
			return keys
		}
		require.Equal(t, []string{"a"}, keys())
		time.Sleep(time.Second)
		require.Equal(t, []string{"b"}, keys())
	})
}

func TestDropAndPoison(t *testing.T) {
	t.Parallel()
	s := memory.New()
	require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "a"}))
	require.NoError(t, s.Create(t.Context(), leases.Lease{Key: "b"}))
	s.Poison("a", errors.New("leaseCounter is text"))
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 1)
	require.Len(t, l.Bad, 1)
	var bad *leases.RowError
	_, err = s.Get(t.Context(), "a")
	require.ErrorAs(t, err, &bad)

	s.Drop()
	_, err = s.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)
	require.NoError(t, s.Init(t.Context()))
	l, err = s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)
}
