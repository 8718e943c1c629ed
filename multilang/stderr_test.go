package multilang

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// drained runs a drain, and returns the lines that it has handed on and a way to write to it.
func drained(t *testing.T) (d *stderrDrain, lines *[]string, w *io.PipeWriter, end func()) {
	t.Helper()
	r, w := io.Pipe()
	lines = &[]string{}
	d = &stderrDrain{emit: func(line []byte) { *lines = append(*lines, string(line)) }}
	done := make(chan struct{})
	go func() { // ends with the pipe
		defer close(done)
		d.run(r)
	}()
	return d, lines, w, func() {
		require.NoError(t, w.Close())
		<-done
	}
}

func TestM05LinesOfStandardError(t *testing.T) {
	long := strings.Repeat("0123456789", stderrLine/10+1)[:stderrLine]
	cases := map[string]struct {
		writes []string
		want   []string
	}{
		"lines":                     {[]string{"a\nb\r\n\nc\n"}, []string{"a", "b", "c"}},
		"a line in pieces":          {[]string{"a", "b", "c\nd"}, []string{"abc", "d"}},
		"no end of line":            {[]string{"abc"}, []string{"abc"}},
		"exactly the bound":         {[]string{long + "\nnext\n"}, []string{long, "next"}},
		"the bound, its end later":  {[]string{long, "\nnext\n"}, []string{long, "next"}},
		"one more than the bound":   {[]string{long + "x\n"}, []string{long, "x"}},
		"more than twice the bound": {[]string{long, long + "x", "y\n"}, []string{long, long, "xy"}},
		"one write of several reads": {[]string{strings.Repeat(long+"\n", 9)}, []string{
			long, long, long, long, long, long, long, long, long,
		}},
		"nothing": {nil, []string{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				_, lines, w, end := drained(t)
				for _, text := range c.writes {
					_, err := io.WriteString(w, text)
					require.NoError(t, err)
				}
				end()
				require.Equal(t, c.want, *lines)
			})
		})
	}
}

// TestM05UnfinishedLineIsFlushed: a second after its beginning, also if more of it keeps coming.
func TestM05UnfinishedLineIsFlushed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, lines, w, end := drained(t)
		begun := time.Now()
		for len(*lines) == 0 {
			_, err := io.WriteString(w, ".")
			require.NoError(t, err)
			time.Sleep(300 * time.Millisecond)
			synctest.Wait()
		}
		require.Equal(t, 1200*time.Millisecond, time.Since(begun))
		require.Equal(t, []string{"...."}, *lines)

		_, err := io.WriteString(w, "whole\nbegun ")
		require.NoError(t, err)
		time.Sleep(900 * time.Millisecond)
		_, err = io.WriteString(w, "and ended\n")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		end()
		require.Equal(t, []string{"....", "whole", "begun and ended"}, *lines)
	})
}

// TestM04LastLinesAreKept: ten of them, each cut.
func TestM04LastLinesAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, _, w, end := drained(t)
		_, err := io.WriteString(w, strings.Repeat("old\n", 100)+strings.Repeat("new\x1b[1m\n", 9)+strings.Repeat("x", 300))
		require.NoError(t, err)
		end()
		require.Equal(t, strings.Repeat(`new\x1b[1m | `, 9)+strings.Repeat("x", tailLine)+"... (44 more bytes)", d.tail())
	})
}

func TestEscape(t *testing.T) {
	t.Parallel()
	require.Equal(t, `a "quoted" \\ \n\t\x1b\xff é … (\u202e)`,
		escape([]byte("a \"quoted\" \\ \n\t\x1b\xff é … (\u202e)"), 100))
	require.Equal(t, "abc... (2 more bytes)", escape([]byte("abcde"), 3))
}
