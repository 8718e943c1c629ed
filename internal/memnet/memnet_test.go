package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/memnet"
)

// pair returns both ends of a connection from host "a" to host "b".
func pair(t *testing.T, n *memnet.Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen(0)
	require.NoError(t, err)
	near, err = n.Host("a").DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	return string(b)
}

func TestBytesArriveInOrderAndWritesNeverBlock(t *testing.T) {
	t.Parallel()
	near, far := pair(t, memnet.New())
	var want bytes.Buffer
	for i := range 20000 { // nobody reads yet
		p := bytes.Repeat([]byte{byte(i)}, i%300)
		n, err := near.Write(p)
		require.NoError(t, err)
		require.Len(t, p, n)
		want.Write(p)
	}
	require.NoError(t, near.Close())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want.Bytes(), got), "%d bytes of %d", len(got), want.Len())
	_, err = far.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	n := memnet.New()
	l, err := n.Listen("b:80")
	require.NoError(t, err)
	require.Equal(t, "b:80", l.Addr().String())
	require.Equal(t, "mem", l.Addr().Network())
	_, err = n.Listen("b:80")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = n.DialContext(t.Context(), "tcp", "b:81")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = n.DialContext(t.Context(), "tcp", "b")
	require.Error(t, err)

	near, err := n.Host("a").DialContext(t.Context(), "tcp", "b:80")
	require.NoError(t, err)
	require.Equal(t, "b:80", near.RemoteAddr().String())
	far, err := l.Accept()
	require.NoError(t, err)
	require.Equal(t, near.LocalAddr(), far.RemoteAddr())
	host, _, err := net.SplitHostPort(far.RemoteAddr().String())
	require.NoError(t, err)
	require.Equal(t, "a", host)
	require.Equal(t, 1, n.Link("a", "b").Conns())

	waiting, err := n.Host("a").DialContext(t.Context(), "tcp", "b:80") // never accepted
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), net.ErrClosed)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)

	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	_, err = near.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Listen("c:80")
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.DialContext(t.Context(), "tcp", "b:80")
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, memnet.New())
		start := time.Now()
		require.NoError(t, far.SetReadDeadline(start.Add(3*time.Second)))
		_, err := far.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, 3*time.Second, time.Since(start))

		require.NoError(t, far.SetDeadline(time.Time{}))
		_, err = near.Write([]byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x", read(t, far, 1))

		// A deadline in the past, set by another goroutine, wakes the reader: how net/http ends a read.
		time.AfterFunc(time.Second, func() { _ = far.SetReadDeadline(time.Unix(1, 0)) })
		_, err = far.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		require.NoError(t, near.SetWriteDeadline(time.Unix(1, 0)))
		_, err = near.Write([]byte("x"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestCloseWakesOwnReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pair(t, memnet.New())
		time.AfterFunc(time.Second, func() { _ = near.Close() })
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = near.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Link("a", "b").SetLatency(50 * time.Millisecond)
		start := time.Now()
		near, far := pair(t, n)
		require.Equal(t, 100*time.Millisecond, time.Since(start), "a dial is one round trip")

		start = time.Now()
		_, err := near.Write([]byte("one"))
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond)
		_, err = near.Write([]byte("two"))
		require.NoError(t, err)
		n.Link("b", "a").SetLatency(0) // what is under way keeps its time, what follows does not overtake
		_, err = near.Write([]byte("six"))
		require.NoError(t, err)
		require.NoError(t, near.Close())
		require.Equal(t, "one", read(t, far, 3))
		require.Equal(t, 50*time.Millisecond, time.Since(start))
		require.Equal(t, "twosix", read(t, far, 6))
		require.Equal(t, 70*time.Millisecond, time.Since(start))
		_, err = far.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestHeldLinkKeepsEverythingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		near, far := pair(t, n)
		l, err := n.Listen("b:80")
		require.NoError(t, err)
		link := n.Link("a", "b")
		link.Hold()
		_, err = near.Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, near.Close())

		var seen string
		var dialled bool
		var wg sync.WaitGroup
		wg.Go(func() {
			b, _ := io.ReadAll(far)
			seen = string(b)
		})
		wg.Go(func() {
			c, err := n.Host("a").DialContext(t.Context(), "tcp", "b:80")
			if err == nil {
				dialled = true
				_ = c.Close()
			}
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, seen)
		require.False(t, dialled)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.Host("a").DialContext(ctx, "tcp", "b:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		link.Release()
		wg.Wait()
		require.Equal(t, "hello", seen)
		require.True(t, dialled)
		require.NoError(t, l.Close())
	})
}

func TestCuts(t *testing.T) {
	t.Parallel()
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		n := memnet.New()
		near, far := pair(t, n)
		_, err := near.Write([]byte("lost"))
		require.NoError(t, err)
		n.Link("a", "b").Reset()
		for _, c := range []net.Conn{near, far} {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, err = c.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			require.NoError(t, c.Close())
		}
	})
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		n := memnet.New()
		near, far := pair(t, n)
		_, err := near.Write([]byte("kept"))
		require.NoError(t, err)
		n.Link("a", "b").End()
		b, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Equal(t, "kept", string(b))
		b, err = io.ReadAll(near)
		require.NoError(t, err)
		require.Empty(t, b)
		_, err = near.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, near.Close())
		_, err = near.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
	t.Run("linger", func(t *testing.T) {
		t.Parallel()
		near, far := pair(t, memnet.New())
		l, ok := far.(interface{ SetLinger(seconds int) error })
		require.True(t, ok)
		require.NoError(t, l.SetLinger(0))
		require.NoError(t, far.Close())
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestKilledHostIsSilentForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		near, far := pair(t, n)
		_, err := near.Write([]byte("under way"))
		require.NoError(t, err)
		n.Host("a").Kill()

		n.Link("a", "b").Release() // no way back
		n.Link("a", "b").Reset()
		for _, c := range []net.Conn{near, far} {
			_, err := c.Write([]byte("into the void"))
			require.NoError(t, err)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		require.NoError(t, near.Close())
		require.NoError(t, far.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = far.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		l, err := n.Listen("c:80") // a link nobody has used yet
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = n.Host("a").DialContext(ctx, "tcp", "c:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		c, err := n.Host("b").DialContext(t.Context(), "tcp", "c:80") // the living are not concerned
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	})
}

// TestHTTP2InBubble runs many streams over one connection, one of which nobody reads, through ten
// virtual minutes.
func TestHTTP2InBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l, err := n.Listen("server:80")
		require.NoError(t, err)
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		srv := &http.Server{
			Protocols: protocols, ReadHeaderTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				chunk := make([]byte, 20_000)
				for r.Context().Err() == nil {
					if _, err := w.Write(chunk); err != nil {
						return
					}
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(time.Second):
					case <-r.Context().Done():
					}
				}
			}),
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(l) })
		client := n.HTTPClient(true)
		unread, err := client.Get("http://server:80/unread")
		require.NoError(t, err)
		require.Equal(t, 2, unread.ProtoMajor)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var totals [8]int64
		for i := range totals {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://server:80/", nil)
				if err != nil {
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					return
				}
				totals[i], _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			})
		}
		<-ctx.Done()
		synctest.Wait()
		require.Equal(t, 1, n.Link("", "server").Conns())
		_ = unread.Body.Close()
		_ = srv.Close()
		require.NoError(t, n.Close())
		wg.Wait()
		for i, total := range totals {
			require.GreaterOrEqual(t, total, int64(590*20_000), "stream %d", i)
		}
	})
}

func TestHTTP1(t *testing.T) {
	t.Parallel()
	n := memnet.New()
	l, err := n.Listen("server:80")
	require.NoError(t, err)
	srv := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
	}
	var serving, wg sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	client := n.HTTPClient(false)
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				if err := echo(client, body); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, srv.Close())
	require.NoError(t, n.Close())
	serving.Wait()
}

func echo(client *http.Client, body []byte) error {
	resp, err := client.Post("http://server:80/", "text/plain", bytes.NewReader(body))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.ProtoMajor != 1 || !bytes.Equal(body, got) {
		return fmt.Errorf("%s: %d bytes came back", resp.Proto, len(got))
	}
	return nil
}

func BenchmarkConn(b *testing.B) {
	n := memnet.New()
	l, err := n.Listen("b:80")
	require.NoError(b, err)
	near, err := n.DialContext(b.Context(), "tcp", "b:80")
	require.NoError(b, err)
	far, err := l.Accept()
	require.NoError(b, err)
	out, in := make([]byte, 16<<10), make([]byte, 16<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(out)))
	for b.Loop() {
		if _, err := near.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(far, in); err != nil {
			b.Fatal(err)
		}
	}
}
