// Command multilangbench measures MultiLangDaemons side by side: same stream, same Python child,
// one daemon after the other. It prints a table.
//
//	eval "$(integration/servers.sh start dynamodb multilangclients multilang3)"
//	go run ./integration/multilangbench [-mode POLLING|FANOUT] [-shards 8] [-live 80000]
//		[-backlog 200000] [-daemons multilangd,java]
//
// For each daemon it starts cmd/kinesisfake without limits. The properties are the defaults, but
// for the endpoints and for metrics, which are off. The virtual machine has its own defaults. The
// steps:
//
//   - fresh: the application starts with a table that does not exist, until a child has a record
//   - rss60 and idle: memory of the daemon after 60 s, and its CPU time in the 20 s before that
//   - live: records of 1 KiB are put while the daemon runs. CPU time of the daemon per 1,000
//   - restart: SIGTERM, then a record for each shard, then a start, until a child has a record
//   - backlog: SIGTERM, then the records are put, then a start, until the children have them all.
//     CPU time as before.
//   - rss: memory of the daemon then, 30 s later, and the most that it had
//
// The daemon is one process. Its children are not counted.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	b := bench{
		tables: os.Getenv("KCL_DYNAMODB_URL"), kclpy: os.Getenv("KCL_KCLPY"), java: os.Getenv("KCL_JAVA_MULTILANG3"),
	}
	flag.StringVar(&b.mode, "mode", "POLLING", "`retrievalMode` of the properties")
	flag.IntVar(&b.shards, "shards", 8, "`number` of shards")
	flag.IntVar(&b.live, "live", 80000, "`number` of records that are put while the daemon runs")
	flag.IntVar(&b.backlog, "backlog", 200000, "`number` of records that are put while it does not run")
	daemons := flag.String("daemons", "multilangd,java", "`names` of the daemons, with commas between")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := b.all(ctx, strings.Split(*daemons, ","))
	stop()
	if err != nil {
		slog.Error("the measurement failed", "err", err)
		os.Exit(1)
	}
}

// bench is the configuration of one comparison.
type bench struct {
	mode                  string
	shards, live, backlog int
	tables, kclpy, java   string // from servers.sh
	dir                   string // where the programs are
}

func (b *bench) all(ctx context.Context, daemons []string) (err error) {
	if b.tables == "" || b.kclpy == "" {
		return errors.New("KCL_DYNAMODB_URL or KCL_KCLPY is not set: see the comment of the command")
	}
	if b.dir, err = os.MkdirTemp("", "kcl-multilangbench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	build := exec.CommandContext(ctx, "go", "build", "-o", b.dir, "./cmd/multilangd", "./cmd/kinesisfake")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the programs (run it in the root of the repository): %w", err)
	}
	fmt.Printf("%s, %d shards, %d records live, %d records of backlog\n", b.mode, b.shards, b.live, b.backlog)
	fmt.Println("| daemon | fresh s | rss60 MB | idle cores | live ms/1000 | restart s " +
		"| backlog s | backlog ms/1000 | rss MB | 30 s later | most MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, name := range daemons {
		command := map[string]string{"multilangd": filepath.Join(b.dir, "multilangd"), "java": b.java}[name]
		if command == "" {
			return fmt.Errorf("no command for the daemon %q", name)
		}
		row, err := b.one(ctx, name, command)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Println(row)
	}
	return nil
}

// one measures one daemon, and returns its row of the table.
func (b *bench) one(ctx context.Context, name, command string) (row string, err error) {
	w, err := newWorld(ctx, b, name, command)
	if err != nil {
		return "", err
	}
	defer w.close()
	if err := w.put(ctx, b.shards); err != nil {
		return "", err
	}
	fresh, err := w.start(ctx)
	if err != nil {
		return "", err
	}
	if err := sleep(ctx, time.Until(w.started.Add(40*time.Second))); err != nil {
		return "", err
	}
	cpu := w.cpu()
	if err := sleep(ctx, 20*time.Second); err != nil {
		return "", err
	}
	idle, rss60 := (w.cpu()-cpu).Seconds()/20, w.memory("VmRSS")

	cpu = w.cpu()
	if err := cmp.Or(w.put(ctx, b.live), w.awaitAll(ctx)); err != nil {
		return "", err
	}
	live := w.cpu() - cpu

	restart, err := w.restart(ctx, b.shards)
	if err != nil {
		return "", err
	}
	if _, err := w.restart(ctx, b.backlog); err != nil {
		return "", err
	}
	if err := w.awaitAll(ctx); err != nil {
		return "", err
	}
	read, rest := time.Since(w.started), w.cpu()
	rss := w.memory("VmRSS")
	if err := sleep(ctx, 30*time.Second); err != nil {
		return "", err
	}
	later, most := w.memory("VmRSS"), w.memory("VmHWM")
	row = fmt.Sprintf("| %s | %.1f | %d | %.3f | %.1f | %.1f | %.1f | %.1f | %d | %d | %d |",
		name, fresh.Seconds(), rss60, idle, perThousand(live, b.live), restart.Seconds(),
		read.Seconds(), perThousand(rest, b.backlog), rss, later, most)
	return row, w.stop(ctx)
}

func perThousand(cpu time.Duration, records int) float64 {
	return float64(cpu.Milliseconds()) * 1000 / float64(max(records, 1))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
