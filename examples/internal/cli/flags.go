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

// Flags are what the command line says.
type Flags struct {
	Stream      string
	Application string
	Worker      string
	From        kcl.InitialPosition
}

// Parse reads the command line. Its errors say what to write instead; after
// -h, which prints the usage to usage, the error is [flag.ErrHelp].
func Parse(program string, args []string, usage io.Writer) (Flags, error) {
	var f Flags
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are printed once, by the caller
	set.StringVar(&f.Stream, "stream", "", "`name` of the stream to read (required)")
	set.StringVar(&f.Application, "application", "", "`name` of the application: its workers share the work, and its lease table has this name (required)")
	set.StringVar(&f.Worker, "worker", "", "`id` of this worker (default: the host's name)")
	set.Func("from", "where to start without checkpoints: trim_horizon, latest or a `time` such as 2026-01-31T08:00:00Z (default trim_horizon)", func(s string) (err error) {
		f.From, err = Position(s)
		return err
	})
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
			errs = append(errs, fmt.Errorf("-%s %q: use 1 to 128 letters, digits, underscores, dots and hyphens", required.flag, required.value))
		}
	}
	return f, errors.Join(errs...)
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

// Logger logs to f, in colour on a terminal.
func Logger(f *os.File) *slog.Logger {
	return slog.New(tint.NewTextHandler(f, &tint.Options{TimeFormat: time.TimeOnly, NoColor: !IsTerminal(f)}))
}

// IsTerminal tells whether f is a terminal that wants escape codes.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
