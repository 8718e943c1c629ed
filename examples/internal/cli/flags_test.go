package cli_test

import (
	"bytes"
	"flag"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/examples/internal/cli"
)

func TestParse(t *testing.T) {
	t.Parallel()
	required := []string{"-stream", "orders", "-application", "totals"}
	for name, test := range map[string]struct {
		args []string
		want cli.Flags
	}{
		"least":        {nil, cli.Flags{}},
		"worker":       {[]string{"-worker", "w1"}, cli.Flags{Worker: "w1"}},
		"trim horizon": {[]string{"-from", "trim_horizon"}, cli.Flags{}},
		"latest":       {[]string{"-from=LATEST"}, cli.Flags{From: kcl.InitialPosition{Kind: kcl.Latest}}},
		"time": {[]string{"--from", "2026-01-31T08:00:00Z"}, cli.Flags{
			From: kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := cli.Parse("efo", append(test.args, required...), io.Discard)
			require.NoError(t, err)
			test.want.Stream, test.want.Application = "orders", "totals"
			require.Equal(t, test.want, got)
			require.NoError(t, got.From.Validate())
		})
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		says []string
	}{
		"nothing": {nil, []string{"-stream is missing", "-application is missing"}},
		"names": {[]string{"-stream", "a b", "-application", "c/d"}, []string{
			`-stream "a b"`, `-application "c/d"`, "use 1 to 128 letters",
		}},
		"from": {[]string{"-from", "yesterday"}, []string{
			"-from", `"yesterday"`, "use trim_horizon, latest or a time such as",
		}},
		"unknown":  {[]string{"-steam", "x"}, []string{"-steam"}},
		"argument": {[]string{"orders"}, []string{`unexpected argument "orders"`, "-stream NAME"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cli.Parse("efo", test.args, io.Discard)
			for _, s := range test.says {
				require.ErrorContains(t, err, s)
			}
		})
	}
}

func TestParseHelp(t *testing.T) {
	t.Parallel()
	var usage bytes.Buffer
	_, err := cli.Parse("efo", []string{"-h"}, &usage)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, s := range []string{
		"usage: efo -stream NAME", "-application name", "-worker id", "-from time",
		"default trim_horizon",
	} {
		require.Contains(t, usage.String(), s)
	}
}
