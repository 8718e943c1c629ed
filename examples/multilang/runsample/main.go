// Command runsample runs the sample processor of examples/multilang under a MultiLangDaemon: `make
// run_sample` and `make run_integ_test`. It makes a stream, puts records, waits until the processor
// has printed each of them, and stops the daemon by SIGTERM.
//
//	runsample [-daemon COMMAND] [-url URL] [-shards 2] [-time 3m] [RECORD...]
//
// Without -daemon the daemon is cmd/multilangd. Without -url it starts cmd/kinesisfake. The
// status is 0 when every record was printed and the daemon ended in order.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

const region = "us-east-1"

// sample is the configuration of one run.
type sample struct {
	daemon  string
	url     string // of Kinesis and DynamoDB
	shards  int
	records []string
	dir     string // where the programs and the properties file are
	stream  string
}

func main() {
	s := sample{}
	flag.StringVar(&s.daemon, "daemon", "", "`command` that gets -p FILE; multilangd if empty")
	flag.StringVar(&s.url, "url", "", "`URL` of Kinesis and DynamoDB; kinesisfake is started if empty")
	flag.IntVar(&s.shards, "shards", 2, "`number` of shards of the stream")
	limit := flag.Duration("time", 3*time.Minute, "the `time` that all may take")
	flag.Parse()
	if s.records = flag.Args(); len(s.records) == 0 {
		s.records = []string{"alice", "bob", "charlie"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, *limit)
	err := s.run(ctx)
	cancel()
	stop()
	if err != nil {
		slog.Error("runsample failed", "err", err)
		os.Exit(1)
	}
	fmt.Println("runsample: every record was processed, and the daemon ended in order")
}

func (s *sample) run(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "kcl-sample-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	//nolint:gosec // a folder that this program made
	build := exec.CommandContext(ctx, "go", "build", "-o", s.dir,
		"./examples/multilang", "./cmd/multilangd", "./cmd/kinesisfake")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the programs (run it in the root of the repository): %w", err)
	}
	if s.url == "" {
		end, err := s.startFake(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	if err := s.put(ctx); err != nil {
		return err
	}
	return s.runDaemon(ctx)
}

// startFake starts kinesisfake with a DynamoDB of its own. end stops it.
func (s *sample) startFake(ctx context.Context) (end func(), err error) {
	//nolint:gosec // a program that this one built
	fake := exec.CommandContext(ctx, filepath.Join(s.dir, "kinesisfake"), "-listen", "127.0.0.1:0", "-dynamodb")
	fake.Stderr = os.Stderr
	out, err := fake.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := fake.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanf(out, "listening on %s\n", &s.url); err != nil {
		return nil, errors.Join(fmt.Errorf("kinesisfake did not say where it listens: %w", err), fake.Wait())
	}
	return func() {
		_ = fake.Process.Kill() // it has no state to keep
		_ = fake.Wait()
	}, nil
}

// put makes the stream and puts the records.
func (s *sample) put(ctx context.Context) error {
	client := kinesis.New(kinesis.Options{
		Region: region, BaseEndpoint: aws.String(s.url),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	s.stream = fmt.Sprintf("sample-%d", time.Now().UnixNano())
	_, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{
		StreamName: &s.stream, ShardCount: aws.Int32(int32(s.shards)),
	})
	if err != nil {
		return err
	}
	waiter := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay = time.Second
	})
	if err := waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &s.stream}, time.Minute); err != nil {
		return err
	}
	for _, record := range s.records {
		_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{
			StreamName: &s.stream, PartitionKey: &record, Data: []byte(record),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runDaemon runs the daemon until every record was printed, and ends it by SIGTERM.
func (s *sample) runDaemon(ctx context.Context) error {
	properties := filepath.Join(s.dir, "sample.properties")
	if err := os.WriteFile(properties, []byte(s.properties()), 0o600); err != nil {
		return err
	}
	command := s.daemon
	if command == "" {
		command = filepath.Join(s.dir, "multilangd")
	}
	out := &watch{missing: map[string]bool{}, done: make(chan struct{})}
	for _, record := range s.records {
		out.missing[fmt.Sprintf("record %q", record)] = true
	}
	// It gets SIGTERM, and time: not the end of ctx.
	daemon := exec.CommandContext(context.WithoutCancel(ctx), command, "-p", properties) //nolint:gosec // as asked
	daemon.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION="+region)
	daemon.Stdout, daemon.Stderr = out, out
	if err := daemon.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- daemon.Wait() }() // ends with the process
	select {
	case <-out.done:
	case err := <-exited:
		return fmt.Errorf("the daemon ended before every record was processed: %w", err)
	case <-ctx.Done():
		_ = daemon.Process.Kill() // an error says that it has ended
		if err := <-exited; err == nil {
			return errors.New("the daemon ended in order, too early")
		}
		return fmt.Errorf("not processed: %v: %w", out.left(), ctx.Err())
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-exited
	if javaStatus := 128 + int(syscall.SIGTERM); err != nil && daemon.ProcessState.ExitCode() != javaStatus {
		return fmt.Errorf("end of the daemon: %w", err)
	}
	return nil
}

// properties is a file as it would be for AWS, with the endpoints of local servers and a short
// failover time besides.
func (s *sample) properties() string {
	return strings.Join([]string{
		"executableName = " + filepath.Join(s.dir, "multilang"),
		"streamName = " + s.stream,
		"applicationName = " + s.stream,
		"AwsCredentialsProvider = DefaultCredentialsProvider",
		"processingLanguage = go",
		"initialPositionInStream = TRIM_HORIZON",
		"regionName = " + region,
		"retrievalMode = POLLING",
		"failoverTimeMillis = 3000",
		"shardSyncIntervalMillis = 1000",
		"shutdownGraceMillis = 10000",
		"metricsLevel = NONE",
		"disableWorkerMetrics = true",
		"kinesisEndpoint = " + s.url,
		"dynamoDBEndpoint = " + s.url, "",
	}, "\n")
}

// watch copies the daemon's output to standard error, and looks for texts in it.
type watch struct {
	mu      sync.Mutex // guards the fields below
	line    bytes.Buffer
	missing map[string]bool
	done    chan struct{} // closed when every text was seen
}

func (w *watch) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.Write(text)
	for {
		end := bytes.IndexByte(w.line.Bytes(), '\n')
		if end < 0 {
			break
		}
		w.look(string(w.line.Next(end + 1)))
	}
	return os.Stderr.Write(text)
}

// look strikes out the texts that a line holds. A log may have quoted them once more.
func (w *watch) look(line string) {
	line = strings.ReplaceAll(line, `\`, "")
	before := len(w.missing)
	for text := range w.missing {
		if strings.Contains(line, text) {
			delete(w.missing, text)
		}
	}
	if before > 0 && len(w.missing) == 0 {
		close(w.done)
	}
}

func (w *watch) left() (left []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for text := range w.missing {
		left = append(left, text)
	}
	return left
}

var _ io.Writer = (*watch)(nil)
