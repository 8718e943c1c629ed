package usercode_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/usercode"
)

func TestCall(t *testing.T) {
	t.Parallel()
	failure := errors.New("failure")
	require.NoError(t, usercode.Call(func() error { return nil }))
	require.Equal(t, failure, usercode.Call(func() error { return failure }))
	for name, f := range map[string]func() error{
		"text":   func() error { panic("text") },
		"error":  func() error { panic(failure) },
		"nil":    func() error { panic(nil) }, //nolint:govet // what a user may do
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		err := usercode.Call(f)
		p, ok := errors.AsType[*usercode.Panic](err)
		require.True(t, ok, name)
		require.Contains(t, string(p.Stack), "TestCall", "the stack of the function that panicked")
		require.Equal(t, name == "error", errors.Is(err, failure))
		require.Equal(t, name == "goexit", errors.Is(err, usercode.ErrGoexit))
	}
}

func TestContain(t *testing.T) {
	t.Parallel()
	ran := false
	require.NoError(t, usercode.Contain(func() { ran = true }))
	require.True(t, ran)
	require.EqualError(t, usercode.Contain(func() { panic("text") }), "panic: text")
}

func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = usercode.Call(func() error { return nil })
	}
}
