package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestPlay runs the whole demonstration in virtual time.
func TestPlay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		require.NoError(t, play(t.Context(), &out, slog.New(slog.NewTextHandler(t.Output(), nil))))
		require.Contains(t, out.String(), "bills     260 records written,  260 processed\n")
		require.Contains(t, out.String(), "notes     200 records written,  200 processed\n")
		require.Contains(t, out.String(), "orders    260 records written,  260 processed\n")
		require.Contains(t, out.String(), "0 lost, 0 processed twice\n")
	})
}

func TestPlayIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, play(ctx, io.Discard, slog.New(slog.DiscardHandler)))
	})
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := &stage{sent: map[string]int{"orders": 2}, seen: map[string]int{"orders 0": 2}}
	var out bytes.Buffer
	require.Error(t, s.audit(&out))
	require.Contains(t, out.String(), "1 lost, 1 processed twice")
}

func TestStreamsFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "streams")
	f, err := parse("multistream", []string{"-streams", file, "-application", "app", "-from", "latest", "-refresh", "5s"},
		io.Discard)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, f.refresh)
	_, err = f.tracker(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	const arn = "arn:aws:kinesis:us-east-1:123456789012:stream/bills"
	require.NoError(t, os.WriteFile(file, []byte("# what to read\norders\n\n  "+arn+"  # of another account\n"), 0o600))
	list, err := f.tracker(t.Context())
	require.NoError(t, err)
	latest := kcl.InitialPosition{Kind: kcl.Latest}
	require.Equal(t, []scheduler.StreamConfig{
		{Name: "orders", InitialPosition: latest},
		{ARN: arn, InitialPosition: latest},
	}, list)
}

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := parse("multistream",
		[]string{"-stream", "orders", "-stream", "bills", "-application", "app", "-worker", "w"}, io.Discard)
	require.NoError(t, err)
	list, err := f.tracker(t.Context())
	require.NoError(t, err)
	require.Equal(t, []scheduler.StreamConfig{{Name: "orders"}, {Name: "bills"}}, list)
	f, err = parse("multistream", []string{"-fake"}, io.Discard)
	require.NoError(t, err)
	require.True(t, f.fake)

	var usage bytes.Buffer
	_, err = parse("multistream", []string{"-h"}, &usage)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, usage.String(), "usage: multistream -streams FILE")
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"nothing":        {nil, "-application is missing"},
		"no stream":      {[]string{"-application", "app"}, "-streams is missing"},
		"both":           {[]string{"-application", "app", "-stream", "orders", "-streams", "file"}, "leave one of them out"},
		"argument":       {[]string{"orders"}, `unexpected argument "orders"`},
		"position":       {[]string{"-from", "tomorrow"}, "use trim_horizon, latest or a time"},
		"unknown option": {[]string{"-steam", "x"}, "-steam"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse("multistream", tc.args, io.Discard)
			require.ErrorContains(t, err, tc.says)
			require.NotErrorIs(t, err, flag.ErrHelp)
		})
	}
}
