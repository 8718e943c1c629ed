package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"

	"github.com/kinesis-go/kcl"
)

// Flags holds the values of the command line.
type Flags struct {
	Stream      string
	Application string
	Worker      string
	From        kcl.InitialPosition
}

// Parse reads the command line. Its errors say what to write instead. The flag -h prints the usage
// to usage, and the error is [flag.ErrHelp].
func Parse(program string, args []string, usage io.Writer) (Flags, error) {
	var f Flags
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(io.Discard) // the caller prints the error
	set.StringVar(&f.Stream, "stream", "", "`name` of the stream to read (required)")
	Common(set, &f.Application, &f.Worker, &f.From)
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprintf(usage, "usage: %s -stream NAME -application NAME [-worker ID] [-from POSITION]\n\n", program)
		set.SetOutput(usage)
		set.PrintDefaults()
		return f, err
	case err != nil:
		return f, err
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q: flags look like -stream NAME", set.Arg(0))
	}
	var errs []error
	for _, required := range []struct{ flag, value string }{{"stream", f.Stream}, {"application", f.Application}} {
		switch {
		case required.value == "":
			errs = append(errs, fmt.Errorf("-%s is missing: give its name", required.flag))
		case !kcl.ValidStreamName(required.value):
			errs = append(errs, fmt.Errorf("-%s %q: use 1 to 128 letters, digits, underscores, dots and hyphens",
				required.flag, required.value))
		}
	}
	return f, errors.Join(errs...)
}

// Common adds the flags that all examples have: -application, -worker and -from.
func Common(set *flag.FlagSet, application, worker *string, from *kcl.InitialPosition) {
	set.StringVar(application, "application", "",
		"`name` of the application: its workers share the work, and its lease table has this name (required)")
	set.StringVar(worker, "worker", "", "`id` of this worker (default: the host's name)")
	set.Func("from", "where to start without checkpoints: trim_horizon, latest or a `time` "+
		"such as 2026-01-31T08:00:00Z (default trim_horizon)", func(s string) (err error) {
		*from, err = Position(s)
		return err
	})
}

// Position reads a position such as latest or 2026-01-31T08:00:00Z.
func Position(s string) (kcl.InitialPosition, error) {
	switch strings.ToLower(s) {
	case "trim_horizon":
		return kcl.InitialPosition{Kind: kcl.TrimHorizon}, nil
	case "latest":
		return kcl.InitialPosition{Kind: kcl.Latest}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return kcl.InitialPosition{}, errors.New("use trim_horizon, latest or a time such as 2026-01-31T08:00:00Z")
	}
	return kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: t}, nil
}

// Logger returns a logger that writes to f, in colour on a terminal.
func Logger(f *os.File) *slog.Logger {
	return slog.New(tint.NewTextHandler(f, &tint.Options{TimeFormat: time.TimeOnly, NoColor: !IsTerminal(f)}))
}

// IsTerminal tells whether f is a terminal that shows escape codes.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
