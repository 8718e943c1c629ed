package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	region = "us-east-1"
	stream = "bench"
	limit  = 10 * time.Minute // for each wait

	checkpointInterval = 5 * time.Second // of the child
)

// world is a fake stream and one daemon.
type world struct {
	client     *kinesis.Client
	fake       *exec.Cmd
	command    string
	properties string
	ledgers    string // the folder of the children's files
	python     string // the folder of amazon_kclpy
	log        string

	daemon  *exec.Cmd
	started time.Time
	puts    int // records since the last forget
}

func newWorld(ctx context.Context, b *bench, name, command string) (*world, error) {
	w := &world{
		command: command, python: b.kclpy, properties: filepath.Join(b.dir, name+".properties"),
		ledgers: filepath.Join(b.dir, name+".ledgers"), log: b.dir + "-" + name + ".log",
	}
	if err := os.Mkdir(w.ledgers, 0o700); err != nil {
		return nil, err
	}
	w.fake = exec.Command(filepath.Join(b.dir, "kinesisfake"), "-listen", "127.0.0.1:0", "-limits=false",
		"-stream", fmt.Sprintf("%s:%d", stream, b.shards))
	w.fake.Stderr = os.Stderr
	out, err := w.fake.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.fake.Start(); err != nil {
		return nil, err
	}
	url := ""
	if _, err := fmt.Fscanf(out, "listening on %s\n", &url); err != nil {
		return nil, errors.Join(err, w.fake.Wait())
	}
	w.client = kinesis.New(kinesis.Options{
		Region: region, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	child, err := filepath.Abs("integration/multilang/bench_child.py")
	if err != nil {
		return nil, err
	}
	properties := []string{
		"executableName = " + filepath.Join(b.kclpy, "venv", "bin", "python3") + " " + child,
		"streamName = " + stream, "applicationName = " + fmt.Sprintf("bench-%s-%d", name, time.Now().UnixNano()),
		"AwsCredentialsProvider = EnvironmentVariableCredentialsProvider", "processingLanguage = python",
		"initialPositionInStream = TRIM_HORIZON", "regionName = " + region, "retrievalMode = " + b.mode,
		"metricsLevel = NONE", "disableWorkerMetrics = true",
		"kinesisEndpoint = " + url, "dynamoDBEndpoint = " + b.tables, "",
	}
	return w, os.WriteFile(w.properties, []byte(strings.Join(properties, "\n")), 0o600)
}

func (w *world) close() {
	for _, cmd := range []*exec.Cmd{w.daemon, w.fake} {
		if cmd != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it has ended, or ends now
			_ = cmd.Wait()
		}
	}
}

// put puts n records of 1 KiB.
func (w *world) put(ctx context.Context, n int) error {
	const batch = 250
	for first := 0; first < n; first += batch {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(stream)}
		for i := first; i < min(n, first+batch); i++ {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{
				PartitionKey: aws.String(strconv.Itoa(w.puts + i)), Data: bytes.Repeat([]byte{byte(i)}, 1024),
			})
		}
		out, err := w.client.PutRecords(ctx, in)
		if err != nil {
			return err
		}
		if aws.ToInt32(out.FailedRecordCount) > 0 {
			return errors.New("records were refused")
		}
	}
	w.puts += n
	return nil
}

// start runs the daemon, and returns how long it takes until a child has a record.
func (w *world) start(ctx context.Context) (time.Duration, error) {
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the daemon has it open
	w.daemon = exec.Command(w.command, "-p", w.properties)
	w.daemon.Stdout, w.daemon.Stderr = log, log
	w.daemon.Env = append(os.Environ(), "LEDGER="+w.ledgers, "PYTHONPATH="+w.python,
		"KCL_JAVA_OPTIONS=-Dkcl.defaults=true", // in place of those of the tests
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	w.started = time.Now()
	if err := w.daemon.Start(); err != nil {
		return 0, err
	}
	var first time.Time
	err = w.await(ctx, func() bool {
		var records int
		records, first = w.read()
		return records > 0
	})
	return first.Sub(w.started), err
}

// stop ends the daemon by SIGTERM. Java's status of a program that a signal ends is 143.
func (w *world) stop(ctx context.Context) error {
	if err := w.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { _ = w.daemon.Process.Kill() }) // an error says that it has ended
	defer stopped()
	if err := w.daemon.Wait(); err != nil && w.daemon.ProcessState.ExitCode() != 143 {
		return err
	}
	return nil
}

// settle has the children checkpoint, so that none of what they have had comes again.
func (w *world) settle(ctx context.Context) error {
	if err := sleep(ctx, checkpointInterval+time.Second); err != nil {
		return err
	}
	return cmp.Or(w.put(ctx, 1000), w.awaitAll(ctx), sleep(ctx, time.Second))
}

// restart ends the daemon by SIGTERM, puts n records and starts it again. It returns how long the
// start takes until a child has a record.
func (w *world) restart(ctx context.Context, n int) (time.Duration, error) {
	if err := cmp.Or(w.settle(ctx), w.stop(ctx)); err != nil {
		return 0, err
	}
	w.forget()
	if err := w.put(ctx, n); err != nil {
		return 0, err
	}
	return w.start(ctx)
}

// forget begins a new count of records.
func (w *world) forget() {
	w.puts = 0
	files, _ := filepath.Glob(filepath.Join(w.ledgers, "*")) // the pattern is good
	for _, file := range files {
		_ = os.Remove(file) // a file that stays counts too much, and the run ends too early
	}
}

// awaitAll waits until the children have had as many records as were put.
func (w *world) awaitAll(ctx context.Context) error {
	return w.await(ctx, func() bool {
		records, _ := w.read()
		return records >= w.puts
	})
}

func (w *world) await(ctx context.Context, condition func() bool) error {
	end := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(end) {
			return fmt.Errorf("not within %v; the daemon's log is %s", limit, w.log)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// read sums what the children have written: records, and when the first came.
func (w *world) read() (records int, first time.Time) {
	files, _ := filepath.Glob(filepath.Join(w.ledgers, "*")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			var micros, n int64
			if _, err := fmt.Sscanf(line, "%d %d", &micros, &n); err != nil || n == 0 {
				continue
			}
			records += int(n)
			if at := time.UnixMicro(micros); first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	return records, first
}

// cpu is the time that the daemon has computed, in its own process.
func (w *world) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.daemon.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // user and system time, in hundredths of a second
		n, _ := strconv.Atoi(field) // the kernel writes numbers
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is a value of the daemon's memory in MB.
func (w *world) memory(name string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.daemon.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kilobytes := 0
	_, _ = fmt.Sscanf(rest, "%d kB", &kilobytes) // 0 if the kernel does not tell
	return kilobytes / 1000
}
