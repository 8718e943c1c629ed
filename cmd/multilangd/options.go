package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/lmittmann/tint"
)

// options holds the values of the command line.
type options struct {
	file             string
	logConfiguration string
	check            bool
	version          bool
	listen           string
	logFormat        string
	logLevel         slog.Level
}

// The values of -log-format.
const (
	formatText = "text"
	formatJSON = "json"
)

// parse reads the command line. Flags may stand before and behind the file.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("multilangd", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error
	flags.StringVar(&o.file, "p", "", "properties `file`")
	flags.StringVar(&o.file, "properties-file", "", "the same as -p")
	flags.StringVar(&o.logConfiguration, "l", "", "accepted as of the Java daemon; no effect")
	flags.StringVar(&o.logConfiguration, "log-configuration", "", "the same as -l")
	flags.BoolVar(&o.check, "check", false, "check the file, the streams, the lease table and the permissions, and end")
	flags.BoolVar(&o.version, "version", false, "print the version and end")
	flags.StringVar(&o.listen, "listen", "",
		"`address` that serves /metrics, /health, /ready and /status, such as :8080 (default: none)")
	flags.StringVar(&o.logFormat, "log-format", formatText, "`format` of the log: text or json")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "least `level` of the log: debug, info, warn or error")
	flags.Usage = func() {}
	var files []string
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				_, _ = fmt.Fprintln(stderr, "usage: multilangd [flags] [-p] FILE\n\nFlags:")
				flags.SetOutput(stderr)
				flags.PrintDefaults()
			}
			return o, err
		}
		if flags.NArg() == 0 {
			break
		}
		files, args = append(files, flags.Arg(0)), flags.Args()[1:]
	}
	return o.complete(files)
}

// complete takes the file from the arguments, and reports all mistakes at once.
func (o options) complete(files []string) (options, error) {
	var errs []error
	switch {
	case len(files) > 1:
		errs = append(errs, fmt.Errorf("unexpected argument %q: give one properties file", files[1]))
	case len(files) == 1 && o.file != "" && o.file != files[0]:
		errs = append(errs, fmt.Errorf("unexpected argument %q: -p names another properties file", files[0]))
	case len(files) == 1:
		o.file = files[0]
	case o.file == "" && !o.version:
		errs = append(errs, errors.New("the properties file is missing: give it as -p FILE"))
	}
	if !slices.Contains([]string{formatText, formatJSON}, o.logFormat) {
		errs = append(errs, fmt.Errorf("-log-format %q: use text or json", o.logFormat))
	}
	if o.listen != "" {
		if _, _, err := net.SplitHostPort(o.listen); err != nil {
			errs = append(errs, fmt.Errorf("-listen %q is not host:port: use one such as :8080", o.listen))
		}
	}
	return o, errors.Join(errs...)
}

// logger returns the log of the daemon.
func (o options) logger(w io.Writer) *slog.Logger {
	if o.logFormat == formatJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.logLevel}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: o.logLevel, NoColor: !isTerminal(w)}))
}

// isTerminal tells whether w is a terminal that shows escape codes.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
