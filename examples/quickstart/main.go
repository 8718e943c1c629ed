// Command quickstart shows the library at work; make demo runs it. It needs nothing but Go: the
// fake Kinesis and the lease table are in memory.
//
// Three workers read a stream of four shards with enhanced fan-out, while a producer writes a known
// set of records. A shard is split, two are merged, a worker is killed without warning, and another
// one is stopped gracefully. At the end an audit counts the records that were lost, processed twice
// or out of order. The status is 1 if a record was lost or out of order.
//
// Read processor.go first: it is the part that you write for your own program. Then read worker.go,
// which makes a scheduler for the processor. The other files are the demonstration around them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/lmittmann/tint"

	"github.com/kinesis-go/kcl/examples/internal/cli"
	"github.com/kinesis-go/kcl/internal/stopsignal"
)

func main() {
	address := flag.String("metrics", "127.0.0.1:0", "`address` that serves Prometheus metrics; port 0 picks a free one")
	logTo := flag.String("log", "", "`file` for the library's log, such as /dev/stderr (default: none)")
	flag.Parse()

	report, err := start(stopsignal.Context(), *address, *logTo)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	if !report.OK() {
		os.Exit(1)
	}
}

func start(ctx context.Context, address, logTo string) (Report, error) {
	log := slog.New(slog.DiscardHandler)
	if logTo != "" {
		const flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
		f, err := os.OpenFile(logTo, flags, 0o644) //nolint:gosec // G302, G304: a log that the user asked for
		if err != nil {
			return Report{}, err
		}
		defer f.Close() //nolint:errcheck // nothing to do about it
		log = slog.New(tint.NewTextHandler(f, &tint.Options{NoColor: !cli.IsTerminal(f)}))
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return Report{}, fmt.Errorf("serve metrics on -metrics %s: %w", address, err)
	}
	return play(ctx, newTable(os.Stdout, cli.IsTerminal(os.Stdout)), listener, log)
}
