//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/leases/dynamodb"
)

const (
	stream, application = "chaos", "chaos"
	region              = "us-east-1"
	firstShards         = 12
	settleTime          = 8 * time.Second // from the start of the workers to the first kill
	drainLimit          = 3 * time.Minute
)

// round is a fresh stream with a fleet. Its memory and its files are bounded by its length.
type round struct {
	config
	dir     string // for the files of the workers
	url     string // of the servers
	fake    *exec.Cmd
	client  *kinesis.Client
	checker *checker
	fleet   *fleet
	counts  counts
}

// newRound starts the servers.
func newRound(c config, dir string) (*round, error) {
	r := &round{config: c, dir: dir, checker: newChecker()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r.fake = exec.Command(filepath.Join(c.programs, "kinesisfake"), "-listen", "127.0.0.1:0", "-dynamodb",
		"-stream", fmt.Sprintf("%s:%d", stream, firstShards))
	r.fake.Stderr = os.Stderr
	r.fake.SysProcAttr = child()
	out, err := r.fake.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.fake.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanf(out, "listening on %s\n", &r.url); err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.client = kinesis.New(kinesis.Options{
		Region: region, BaseEndpoint: &r.url, HTTPClient: h2c(),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	server, err := url.Parse(r.url)
	if err == nil {
		r.fleet, err = newFleet(filepath.Join(c.programs, "worker"), dir, server.Host, c.workers, r.checker)
	}
	if err == nil && c.soak > 0 {
		err = r.fleet.serveMetrics()
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// h2c is a client for HTTP/2 with prior knowledge. With HTTP/1.1 on a loopback connection the SDK
// loses answers, and puts records twice.
func h2c() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{Protocols: protocols}}
}

// close ends the servers.
func (r *round) close() error {
	if r.fleet != nil {
		r.fleet.close()
	}
	_ = r.fake.Process.Kill() // it has ended, or ends now
	if err := r.fake.Wait(); r.fake.ProcessState == nil {
		return err
	}
	return nil
}

// run has the fleet read while breakIt does its work. Then it waits until all is processed, ends
// the workers and judges. The error says that the round could not be carried out.
func (r *round) run(ctx context.Context, breakIt func(context.Context)) (totals, error) {
	began := time.Now()
	workers, stopWorkers := context.WithCancel(ctx)
	writing, stopWriting := context.WithCancel(ctx)
	defer r.fleet.wait()
	defer stopWorkers()
	defer stopWriting()
	r.fleet.start(workers)
	var wg sync.WaitGroup
	wg.Go(func() { produce(writing, r.client, r.rate, r.checker) }) // ends with writing
	pause(ctx, settleTime)
	breakIt(ctx)
	stopWriting()
	wg.Wait()
	_, put := r.checker.missing()
	slog.Info("faults have ended", "records", put, "a_second", put/max(1, int(time.Since(began).Seconds())))
	drained := r.drain(ctx)
	if !drained && ctx.Err() == nil {
		r.dump(ctx)
	}
	stopWorkers()
	r.fleet.wait()
	if ctx.Err() != nil {
		return totals{}, errors.Join(context.Cause(ctx), os.RemoveAll(r.dir))
	}
	v := r.checker.verdict()
	result := totals{
		Rounds: 1, Seconds: int(time.Since(began).Seconds()), Counts: r.counts.all(), Starts: r.fleet.starts,
		Records: v.Records, Duplicates: v.Duplicates, Lost: v.Lost, OutOfOrder: v.OutOfOrder, Foreign: v.Foreign,
		Longest: v.Longest,
	}
	slog.Info("slowest record", "took", v.Longest, "record", v.Slowest)
	switch {
	case v.violations() > 0 || len(r.fleet.problems) > 0:
		result.Failed = 1
	case r.keep > 0 && v.Longest > r.keep:
		slog.Warn("a record took long, the files stay", "dir", r.dir)
		return result, nil
	default:
		return result, os.RemoveAll(r.dir)
	}
	report := v.String() + "\n" + strings.Join(r.fleet.problems, "\n") + "\n"
	fmt.Printf("the round failed, its files are in %s:\n%s", r.dir, report)
	return result, os.WriteFile(filepath.Join(r.dir, "report.txt"), []byte(report), 0o600)
}

// drain waits until every record is acknowledged.
func (r *round) drain(ctx context.Context) bool {
	began := time.Now()
	for last := began; ctx.Err() == nil; pause(ctx, tailInterval) {
		missing, put := r.checker.missing()
		switch {
		case missing == 0:
			slog.Info("drained", "records", put, "took", time.Since(began).Round(time.Second))
			return true
		case time.Since(began) > drainLimit:
			r.fleet.problem("%d of %d records were not processed within %v after the last fault", missing, put, drainLimit)
			return false
		case time.Since(last) > 10*time.Second:
			last = time.Now()
			slog.Info("draining", "records", put, "missing", missing)
		}
	}
	return false
}

// dump writes the lease table to a file, and the stacks of the workers to their logs.
func (r *round) dump(ctx context.Context) {
	table := dynamodb.New(dynamodb.Config{Table: application, Client: ddb.New(ddb.Options{
		Region: region, BaseEndpoint: &r.url, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})})
	listing, err := table.List(ctx)
	var b strings.Builder
	for _, row := range listing.Leases {
		fmt.Fprintf(&b, "%+v\n", row)
	}
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "table.txt"), []byte(b.String()), 0o600); err != nil {
		slog.Error("write the table", "err", err)
	}
	for _, s := range r.fleet.slots {
		s.signal(syscall.SIGQUIT, running, quitting)
	}
}
