package tcpproxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/integration/chaos/tcpproxy"
)

// start returns a proxy before a server that sends back what it gets.
func start(t *testing.T) *tcpproxy.Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(conn, conn) // a reset is one of the cases
				_ = conn.Close()
			})
		}
	})
	proxy, err := tcpproxy.Listen(listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		proxy.Close()
		require.NoError(t, listener.Close())
		wg.Wait()
	})
	return proxy
}

func dial(t *testing.T, proxy *tcpproxy.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return conn.(*net.TCPConn)
}

// echo sends a text and expects it back.
func echo(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	requireText(t, conn, text)
}

func requireText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// requireReset expects the connection to break without its end.
func requireReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
}

func TestPassesDataAndEnds(t *testing.T) {
	t.Parallel()
	conn := dial(t, start(t))
	echo(t, conn, "hello")
	_, err := io.WriteString(conn, "last")
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	rest, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "last", string(rest), "the answer comes after the end of the request")
}

func TestResetsOldAndNewConnections(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	old := dial(t, proxy)
	echo(t, old, "hello")
	proxy.Set(tcpproxy.Fault{Mode: tcpproxy.Reset})
	requireReset(t, old)
	requireReset(t, dial(t, proxy))
	proxy.Set(tcpproxy.Fault{})
	healed := dial(t, proxy)
	echo(t, healed, "hello")
	proxy.ResetAll()
	requireReset(t, healed)
}

func TestBlackHoleKeepsDataUntilItEnds(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	old := dial(t, proxy)
	echo(t, old, "hello")
	proxy.Set(tcpproxy.Fault{Mode: tcpproxy.BlackHole})
	fresh := dial(t, proxy)
	for _, conn := range []net.Conn{old, fresh} {
		_, err := io.WriteString(conn, "late")
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	}
	proxy.Set(tcpproxy.Fault{})
	requireText(t, old, "late")
	requireText(t, fresh, "late")
}

func TestSlowDelaysAndLimits(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	conn := dial(t, proxy)
	for _, fault := range []tcpproxy.Fault{
		{Mode: tcpproxy.Slow, Delay: 20 * time.Millisecond},
		{Mode: tcpproxy.Slow, Bytes: 250}, // 5 bytes in 20 ms
	} {
		proxy.Set(fault)
		began := time.Now()
		echo(t, conn, "hello")
		require.GreaterOrEqual(t, time.Since(began), 40*time.Millisecond, "there and back")
	}
	proxy.Set(tcpproxy.Fault{Mode: tcpproxy.Slow, Delay: time.Hour})
	_, err := io.WriteString(conn, "late")
	require.NoError(t, err)
	proxy.Set(tcpproxy.Fault{})
	requireText(t, conn, "late")
}

func TestCutsAfterSomeBytes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		bytes int
		back  string // of "hello"
	}{
		"in the request": {3, ""},
		"in the answer":  {7, "he"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := start(t)
			old := dial(t, proxy)
			echo(t, old, "before the fault")
			proxy.Set(tcpproxy.Fault{Mode: tcpproxy.Cut, Bytes: tc.bytes})
			for _, conn := range []net.Conn{old, dial(t, proxy)} {
				_, err := io.WriteString(conn, "hello")
				require.NoError(t, err)
				back, err := io.ReadAll(conn)
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.True(t, len(back) <= len(tc.back) && tc.back[:len(back)] == string(back), "%q", back)
			}
		})
	}
}

// TestCloseWhileWaiting: the proxy ends although a connection waits in a black hole.
func TestCloseWhileWaiting(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	conn := dial(t, proxy)
	echo(t, conn, "hello")
	proxy.Set(tcpproxy.Fault{Mode: tcpproxy.BlackHole})
	_, err := io.WriteString(conn, "lost")
	require.NoError(t, err)
	proxy.Close()
	requireReset(t, conn)
}
