package protocol_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

func TestLineReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	text := "\n\na\r\n  \nprogress 1%\rprogress 2%\r{}\n" + long + "\nlast"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)),
		"error with data": iotest.DataErrReader(strings.NewReader(text)),
	} {
		lines := protocol.NewLineReader(r)
		for _, want := range []string{"a", "progress 1%", "progress 2%", "{}", long} {
			line, err := lines.Next()
			require.NoError(t, err, name)
			require.Equal(t, want, string(line), name)
			require.True(t, lines.Complete(), name)
		}
		line, err := lines.Next()
		require.NoError(t, err, name)
		require.Equal(t, "last", string(line), name)
		require.False(t, lines.Complete(), name)
		for range 2 {
			_, err = lines.Next()
			require.Equal(t, io.EOF, err, name)
		}
	}
}

func TestLineReaderError(t *testing.T) {
	t.Parallel()
	failure := errors.New("pipe broken")
	lines := protocol.NewLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(failure)))
	line, err := lines.Next()
	require.NoError(t, err)
	require.Equal(t, "a", string(line))
	line, err = lines.Next()
	require.NoError(t, err)
	require.Equal(t, "b", string(line))
	_, err = lines.Next()
	require.Equal(t, failure, err)
}

// TestM03LongLine: a line of 100 MiB neither stops the reader nor stays in memory.
func TestM03LongLine(t *testing.T) {
	const size = 100 << 20
	input := func() io.Reader {
		return io.MultiReader(strings.NewReader("a\n"), &filler{left: size}, strings.NewReader("\n"),
			strings.NewReader(strings.Repeat("short\n", 40)))
	}

	told := 0
	lines := protocol.NewLineReader(input())
	lines.Limit, lines.OnLong = 1000, func() { told++ }
	before := allocated()
	require.Equal(t, 1, length(t, lines))
	require.Equal(t, 1000, length(t, lines))
	require.Equal(t, 5, length(t, lines))
	require.Equal(t, 1, told)
	require.Less(t, allocated()-before, uint64(1<<20), "the line is read and dropped")

	lines = protocol.NewLineReader(input())
	require.Equal(t, 1, length(t, lines))
	require.Equal(t, size, length(t, lines))
	for range 40 {
		require.Equal(t, 5, length(t, lines))
	}
	before = live()
	require.Less(t, before, uint64(size/2), "the buffer of the long line is given back")
	_, err := lines.Next()
	require.Equal(t, io.EOF, err)
}

func length(t *testing.T, lines *protocol.LineReader) int {
	t.Helper()
	line, err := lines.Next()
	require.NoError(t, err)
	return len(line)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// filler reads as many x as are left.
type filler struct{ left int }

func (f *filler) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), f.left)
	for i := range n {
		p[i] = 'x'
	}
	f.left -= n
	return n, nil
}
