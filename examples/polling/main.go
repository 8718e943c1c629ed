// Command polling prints the records of a stream as JSON lines. It reads with GetRecords: all
// pollers of a shard share its 2 MB/s.
//
//	polling -stream NAME -application NAME [-worker ID] [-from trim_horizon|latest|TIME]
//
// Start it several times to share the shards. Region, credentials and endpoints come from the usual
// environment: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL_DYNAMODB and so
// on. The log goes to standard error. SIGINT and SIGTERM stop it gracefully, with status 0. Status
// 2 means a mistake in the command line, and 1 any other error.
package main

import (
	"context"
	"io"
	"log/slog"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/examples/internal/cli"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

func main() { cli.Main("polling", cli.Parse, run) }

// run reads the stream until ctx ends.
func run(ctx context.Context, flags cli.Flags, out io.Writer, log *slog.Logger) error {
	aws, err := cli.LoadAWS(ctx)
	if err != nil {
		return err
	}
	return scheduler.New(scheduler.Config{
		Application:   flags.Application,
		WorkerID:      flags.Worker,
		Streams:       []scheduler.StreamConfig{{Name: flags.Stream, InitialPosition: flags.From}},
		Kinesis:       kinesis.NewFromConfig(aws),
		Leases:        dynamodb.New(dynamodb.Config{Client: ddb.NewFromConfig(aws), Table: flags.Application}),
		RetrievalMode: scheduler.Polling,
		Logger:        log,
	}, cli.NewPrinter(out).Processor).Run(ctx)
}
