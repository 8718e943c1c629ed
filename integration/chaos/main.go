//go:build unix

// Command chaos kills, freezes and starves real workers of the library, and breaks their
// connections, while shards are split and merged under load. Then it checks that no record was lost
// and that the records of each key came in order.
//
//	go run ./integration/chaos [-kills 50 | -target 1000,1000,500] [-state DIR] [-time 1h]
//		[-round 50] [-workers 8] [-frozen 3] [-every 1s] [-rate 5000] [-keep 5m]
//	go run ./integration/chaos -soak 1h [-state DIR] [-workers 4] [-rate 1000]
//
// A run consists of rounds. Each has its own cmd/kinesisfake, which serves the lease table too, its
// own stream and its own workers. The numbers of -kills and -target are those of SIGKILL, SIGTERM
// and SIGSTOP for 30 s. -kills is the number of this run, and a fifth of them are SIGSTOP. -target
// has the three numbers of all runs with the same -state. DIR keeps the sums, the result of each
// run, and the files of failed rounds.
//
// With -soak nothing is broken. The memory, goroutines, open files and connections of the workers
// are measured, and must not grow.
//
// The exit status is 1 after a violation. README.md of the folder integration says more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/stopsignal"
)

// config holds the values of the command line.
type config struct {
	kills, round, workers, frozen, rate int
	target                              map[string]int // nil for kills
	state                               string
	time, every, soak, keep             time.Duration
	programs                            string // the folder of the programs
}

func main() {
	c, err := parse(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		}
		os.Exit(2)
	}
	failed, err := c.all(stopsignal.Context())
	if err != nil {
		slog.Error("the run ended early", "err", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

func parse(args []string) (config, error) {
	var c config
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.IntVar(&c.kills, "kills", 50, "`number` of SIGKILL, SIGTERM and SIGSTOP of this run")
	target := flags.String("target", "", "`numbers` of SIGKILL, SIGTERM and SIGSTOP of all runs with the same state")
	flags.StringVar(&c.state, "state", "", "`folder` for sums, results and the files of failed rounds")
	flags.DurationVar(&c.time, "time", 0, "`time` after which no round begins; 0 for no limit")
	flags.IntVar(&c.round, "round", 50, "`number` of kills of a round")
	flags.DurationVar(&c.keep, "keep", 0, "`time` of a record after which the files of its round stay; 0 for never")
	flags.IntVar(&c.workers, "workers", 8, "`number` of workers")
	flags.IntVar(&c.frozen, "frozen", 3, "`number` of workers that may be frozen at a time")
	flags.DurationVar(&c.every, "every", time.Second, "`time` between two kills, on the average")
	flags.IntVar(&c.rate, "rate", 5000, "records a second")
	flags.DurationVar(&c.soak, "soak", 0, "`time` to measure workers to which nothing happens")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	var err error
	c.target, err = parseTarget(*target)
	switch {
	case err != nil:
		return c, err
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case c.workers < 1 || c.frozen >= c.workers || c.frozen < 1:
		return c, errors.New("-frozen must be at least 1 and less than -workers")
	case c.rate < 1 || c.round < 1 || c.every <= 0:
		return c, errors.New("-rate, -round and -every must be positive")
	case c.target != nil && c.state == "":
		return c, errors.New("-target needs -state, which keeps the sums")
	}
	return c, nil
}

// parseTarget reads three numbers with commas between.
func parseTarget(text string) (map[string]int, error) {
	if text == "" {
		return nil, nil
	}
	wrong := fmt.Errorf("-target %q: want three numbers, such as 1000,1000,500", text)
	target, parts, kinds := map[string]int{}, strings.Split(text, ","), []string{sigkill, sigterm, sigstop}
	if len(parts) != len(kinds) {
		return nil, wrong
	}
	for i, kind := range kinds {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 {
			return nil, wrong
		}
		target[kind] = n
	}
	return target, nil
}

// all carries out the rounds, and prints and records their result.
func (c config) all(ctx context.Context) (failed bool, err error) {
	work, err := os.MkdirTemp("", "kcl-chaos-")
	if err != nil {
		return false, err
	}
	if c.state != "" {
		if err := os.MkdirAll(c.state, 0o700); err != nil {
			return false, err
		}
	}
	sum, err := load(c.state)
	if err != nil {
		return false, err
	}
	c.programs = filepath.Join(work, "bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", c.programs+string(filepath.Separator),
		"./cmd/kinesisfake", "./integration/chaos/worker")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return false, fmt.Errorf("build the programs (run it in the root of the repository): %w", err)
	}
	run, err := c.rounds(ctx, work, &sum)
	if removeErr := c.clean(work, run.Failed > 0); err == nil {
		err = removeErr
	}
	if run.Rounds == 0 {
		return false, err
	}
	fmt.Println(run.String())
	err = errors.Join(err, record(c.state, run.String()))
	if c.state != "" {
		fmt.Println("all runs:", sum.String())
	}
	return run.Failed > 0, err
}

// clean removes the folder of the run, except the files of failed rounds.
func (c config) clean(work string, failed bool) error {
	if failed && c.state == "" {
		return os.RemoveAll(c.programs)
	}
	return os.RemoveAll(work)
}

// rounds carries out rounds until the target is reached, the time is over or a round fails.
func (c config) rounds(ctx context.Context, work string, sum *totals) (run totals, err error) {
	files := work
	if c.state != "" {
		files = c.state
	}
	began := time.Now()
	for ctx.Err() == nil && (c.time == 0 || time.Since(began) < c.time) {
		next := c.next(run, *sum)
		if next == nil {
			break
		}
		r, err := newRound(c, filepath.Join(files, "round-"+time.Now().UTC().Format("20060102-150405")))
		if err != nil {
			return run, err
		}
		result, err := c.one(ctx, r, next)
		if err = errors.Join(err, r.close()); err != nil {
			return run, err
		}
		run.add(result)
		sum.add(result)
		if err := sum.save(c.state); err != nil {
			return run, err
		}
		slog.Info("round", "result", result.String())
		if c.soak > 0 {
			break
		}
	}
	return run, context.Cause(ctx)
}

// one carries out a round of kills or of measurements.
func (c config) one(ctx context.Context, r *round, kills map[string]int) (totals, error) {
	if c.soak > 0 {
		return r.run(ctx, func(ctx context.Context) { soak(ctx, r.fleet, c.soak) })
	}
	return r.run(ctx, func(ctx context.Context) {
		var wg sync.WaitGroup
		resharding, stop := context.WithCancel(ctx)
		wg.Go(func() { reshard(resharding, r.client, &r.counts) }) // ends with resharding
		h := havoc{fleet: r.fleet, counts: &r.counts}
		h.run(ctx, newPlan(kills, c.every, c.frozen))
		stop()
		wg.Wait()
	})
}

// next is the kills of the next round, nil for no round.
func (c config) next(run, sum totals) map[string]int {
	if c.soak > 0 {
		return map[string]int{}
	}
	left := map[string]int{}
	if c.target == nil {
		n := c.kills - run.kills()
		left[sigstop] = n / 5
		left[sigterm] = (n - n/5) / 2
		left[sigkill] = n - n/5 - left[sigterm]
	} else {
		for kind, n := range c.target {
			left[kind] = max(0, n-sum.Counts[kind])
		}
	}
	n := left[sigkill] + left[sigterm] + left[sigstop]
	if n <= 0 {
		return nil
	}
	if n > c.round {
		for kind, k := range left {
			left[kind] = (k*c.round + n - 1) / n // rounded up, so that each kind gets on
		}
	}
	return left
}
