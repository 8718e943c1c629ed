package journal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
)

var entries = []journal.Entry{
	{Sequence: "49", Sub: 0, Key: "a", Counter: 7},
	{Sequence: "49", Sub: 1, Key: "a", Counter: 8},
}

// read reads a journal in pieces of size bytes.
func read(text string, size int) (batches []journal.Batch, torn int) {
	r := journal.Reader{Batch: func(b journal.Batch) { batches = append(batches, b) }}
	for len(text) > 0 {
		n := min(size, len(text))
		_, _ = r.Write([]byte(text[:n])) // never an error
		text = text[n:]
	}
	r.Close()
	return batches, r.Torn
}

func TestBatchesComeBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	w, err := journal.Create(path)
	require.NoError(t, err)
	began := journal.Now()
	require.NoError(t, w.Acknowledge("shard-1", began, entries))
	require.NoError(t, w.Acknowledge("shard-2", began, entries[:1]))
	require.NoError(t, w.Close())
	require.Error(t, w.Acknowledge("shard-3", began, entries), "the file is closed")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, size := range []int{1, 7, 1000} {
		batches, torn := read(string(text), size)
		require.Zero(t, torn)
		require.Len(t, batches, 2)
		require.Equal(t, entries, batches[0].Entries)
		require.Equal(t, "shard-2", batches[1].Shard)
		for _, b := range batches {
			require.Equal(t, began, b.Began)
			require.Greater(t, b.Done, began)
		}
	}
}

// TestCutBatchesDoNotCount: wherever a write was cut, no batch is acknowledged by mistake, and the
// one that was written again counts once.
func TestCutBatchesDoNotCount(t *testing.T) {
	t.Parallel()
	const batch, confirmation = "B 1 s 100 2\n49 0 a 7\n49 1 a 81\nE 1 .\n", "D 1 200 .\n"
	const again = "\nB 2 s 300 1\n49 0 a 7\nE 2 .\nD 2 400 .\n"
	whole := batch + confirmation
	for cut := range len(whole) - 1 {
		batches, _ := read(whole[:cut]+again, 3)
		last := batches[len(batches)-1]
		for _, b := range batches {
			if b.Done == 0 {
				require.GreaterOrEqual(t, cut, len(batch)-1, "batch 1 had not been written whole")
				require.Equal(t, 81, b.Entries[1].Counter)
				last = batches[0]
			}
		}
		require.EqualValues(t, 400, last.Done, "cut after %d bytes", cut)
	}
	batches, torn := read(batch[:30]+again, 1000)
	require.Equal(t, 1, torn)
	require.Len(t, batches, 1)
}

// disk is a file on a disk with room for some bytes.
type disk struct {
	strings.Builder
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Builder.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Close() error { return nil }

var confirmed = regexp.MustCompile(`(?m)^D 1 \d+ \.$`)

// TestFullDisk: a journal on a full disk gives an error, and goes on when there is room again. What
// gave an error is not acknowledged.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for room := range 60 {
		d := &disk{room: room}
		w := journal.NewWriter(d)
		err := w.Acknowledge("s", 100, entries)
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorIs(t, w.Acknowledge("s", 100, entries), syscall.ENOSPC)
		}
		d.room = 1000
		require.NoError(t, w.Acknowledge("s", 100, entries))
		acknowledged := 0
		batches, _ := read(d.String(), 10)
		for _, b := range batches {
			require.Equal(t, entries, b.Entries)
			if b.Done != 0 {
				acknowledged++
			}
		}
		want := 1
		if confirmed.MatchString(d.String()) { // at most the end of its line is missing
			want = 2
		}
		require.Equal(t, want, acknowledged, "room for %d bytes:\n%s", room, d.String())
	}
}
