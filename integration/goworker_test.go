package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// goWorker is what the test binary does when WORKER is set: it is the counterpart of
// java/JavaWorker.java, with the same settings in the environment and the same lines on standard
// output, and one for each change of how it gets its leases. It returns the exit status.
func goWorker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	failover, err := strconv.Atoi(os.Getenv("FAILOVER_MILLIS"))
	if err != nil {
		slog.Error("FAILOVER_MILLIS is no number", "error", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	mode := scheduler.EFO
	if os.Getenv("RETRIEVAL") == scheduler.Polling.String() {
		mode = scheduler.Polling
	}
	out := printer{os.Stdout}
	out.print("started", os.Getenv("WORKER"), "", "")
	cfg := scheduler.Config{
		Application: os.Getenv("APPLICATION"), WorkerID: os.Getenv("WORKER"),
		Kinesis: kinesisClient(os.Getenv("KINESIS_URL"), func(o *kinesis.Options) { o.HTTPClient = h2c() }),
		Leases: dynamodb.New(dynamodb.Config{
			Client: dynamodbClient(os.Getenv("DYNAMODB_URL")), Table: os.Getenv("APPLICATION"), Logger: log,
		}),
		RetrievalMode: mode, FailoverTime: time.Duration(failover) * time.Millisecond,
		ShardSyncInterval: 2 * time.Second, ShutdownTimeout: 20 * time.Second, Logger: log,
	}
	name := func(_ kcl.StreamIdentifier, shard kcl.Shard) string { return shard.ID }
	if streams := os.Getenv("STREAMS"); streams == "" {
		cfg.Streams = []scheduler.StreamConfig{{Name: os.Getenv("STREAM")}}
	} else {
		cfg.StreamTracker = func(context.Context) (list []scheduler.StreamConfig, err error) {
			for stream := range strings.SplitSeq(streams, ",") {
				list = append(list, scheduler.StreamConfig{Name: stream})
			}
			return list, nil
		}
		name = func(stream kcl.StreamIdentifier, shard kcl.Shard) string { return stream.String() + ":" + shard.ID }
	}
	s := scheduler.New(cfg, func(stream kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return &printingProcessor{printer: out, shard: name(stream, shard)}
	})
	go func() { // ends with the process
		last := ""
		for range time.Tick(50 * time.Millisecond) {
			if mode := s.Status().Assignment.Mode; mode != last {
				out.print("mode", "", "", mode)
				last = mode
			}
		}
	}()
	if err = s.Run(ctx); err != nil {
		out.print("failed", err.Error(), "", "")
		return 1
	}
	out.print("stopped", "true", "", "")
	return 0
}

// printer writes the lines that both kinds of worker print, each with one call.
type printer struct{ w io.Writer }

func (p printer) print(event, shard, sequence, data string) {
	// An error is a reader that has gone, and then nobody misses the line.
	_, _ = fmt.Fprintf(p.w, "%d\t%s\t%s\t%s\t%s\n", time.Now().UnixMicro(), event, shard, sequence, data)
}

// printingProcessor prints each record and checkpoints after each batch.
type printingProcessor struct {
	printer
	shard string
	last  string
}

func (p *printingProcessor) Initialize(_ context.Context, in kcl.InitializeInput) error {
	p.print("initialize", p.shard, in.Checkpoint.String(), "")
	return nil
}

func (p *printingProcessor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, record := range in.Records {
		p.last = record.SequenceNumber()
		p.print("record", p.shard, p.last, strings.TrimSpace(string(record.Data())))
	}
	if len(in.Records) == 0 {
		return nil
	}
	return p.checkpoint(ctx, in.Checkpointer)
}

func (p *printingProcessor) LeaseLost(context.Context, kcl.LeaseLostInput) {
	p.print("lost", p.shard, "", "")
}

func (p *printingProcessor) ShardEnded(context.Context, kcl.ShardEndedInput) error {
	p.print("ended", p.shard, "", "")
	return nil
}

func (p *printingProcessor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	p.print("requested", p.shard, p.last, "")
	return p.checkpoint(ctx, in.Checkpointer)
}

func (p *printingProcessor) checkpoint(ctx context.Context, checkpointer kcl.Checkpointer) error {
	if err := checkpointer.Checkpoint(ctx); err != nil {
		p.print("refused", p.shard, p.last, err.Error())
		return err
	}
	p.print("checkpoint", p.shard, p.last, "")
	return nil
}
