// Command multilangd is a MultiLangDaemon without a JVM. It reads the properties file of the Java
// daemon, and starts one child process for each shard. The child may be written in any language.
//
//	multilangd [-check] [-listen ADDRESS] [-log-format text|json] [-log-level LEVEL] -p FILE
//
// -p is also -properties-file, and FILE may be the only argument. Flags may begin with one or two
// hyphens. -l and -log-configuration of the Java daemon are accepted and have no effect.
// docs/multilang.md explains each key of the file.
//
// With -check the daemon looks at the file, the streams, the lease table and the permissions. It
// prints what it found and ends. It writes nothing and starts no child. It names the permissions
// that only the first start can prove.
//
// With -listen it serves over HTTP: /metrics (Prometheus), /health, /ready and /status. Status 200
// of /health means that every shard makes progress, and of /ready that the start has finished.
//
// SIGTERM and SIGINT stop the daemon gracefully, within shutdownGraceMillis. A second signal ends
// it at once. The garbage collector works with GOGC=50, unless that variable is set.
//
// The exit status is 0 after a graceful stop, or when -check found no fault. It is 2 when the
// command line is wrong, and 1 after any other error. The log goes to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/properties"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
	"github.com/kinesis-go/kcl/internal/stopsignal"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // a third less memory after a backlog, for a few percent of CPU time
	}
	os.Exit(run(stopsignal.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return statusOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "multilangd: %v\ntry multilangd -help\n", err)
		return statusUsage
	case opts.version:
		_, _ = fmt.Fprintln(stdout, "multilangd", version())
		return statusOK
	}
	log := opts.logger(stderr)
	if err := start(ctx, opts, stdout, log); err != nil {
		report(log, err)
		return statusFailed
	}
	return statusOK
}

// start reads the file, and checks or runs the daemon.
func start(ctx context.Context, opts options, stdout io.Writer, log *slog.Logger) error {
	cfg, err := load(ctx, opts, log)
	if err != nil {
		return err
	}
	if opts.check {
		return check(ctx, cfg, opts.file, stdout, log)
	}
	d, err := newDaemon(ctx, cfg, log)
	if err != nil {
		return err
	}
	return d.run(ctx, opts.listen)
}

// load reads the properties file and logs what an operator should know about it.
func load(ctx context.Context, opts options, log *slog.Logger) (settings.Config, error) {
	if opts.logConfiguration != "" {
		log.InfoContext(ctx, "the log configuration of the Java daemon has no effect: use -log-format and -log-level",
			"file", opts.logConfiguration)
	}
	file, err := properties.Load(opts.file)
	if err != nil && file == nil {
		return settings.Config{}, err
	}
	cfg, notes, err2 := settings.Read(file)
	for _, w := range notes.Warnings {
		log.WarnContext(ctx, "properties file: "+w) //nolint:sloglint // the text has file and line
	}
	if len(notes.WithoutEffect) > 0 {
		var keys []any
		for _, k := range notes.WithoutEffect {
			keys = append(keys, slog.String(k.Key, k.Reason))
		}
		log.InfoContext(ctx, "properties file: keys that are understood and have no effect here", slog.Group("keys", keys...))
	}
	return cfg, errors.Join(err, err2)
}

// report logs each error of errors.Join on a line of its own.
func report(log *slog.Logger, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var texts []string
		for _, e := range several.Unwrap() {
			texts = append(texts, e.Error())
		}
		if err.Error() == strings.Join(texts, "\n") {
			for _, e := range several.Unwrap() {
				report(log, e)
			}
			return
		}
	}
	log.Error("multilangd has failed", "err", err)
}

// version returns the version of the module, and the commit if the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value
		}
	}
	return text
}
