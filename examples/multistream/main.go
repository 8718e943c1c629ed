// Command multistream prints the records of several streams as JSON lines. The list of streams may
// change while it runs:
//
//	multistream -streams FILE -application NAME [-worker ID]
//		[-from trim_horizon|latest|TIME] [-refresh INTERVAL]
//	multistream -stream NAME [-stream NAME]... -application NAME ...
//	multistream -fake
//
// FILE names a stream per line, by its name or ARN. A stream of another account needs the ARN. The
// file is read again every INTERVAL.
//
// With -fake no AWS is needed: two workers read a fake Kinesis in memory, while streams are added
// and removed. An audit then tells whether every record was processed exactly once. The status is 1
// if not.
//
// Otherwise region, credentials and endpoints come from the usual environment. The log goes to
// standard error. SIGINT and SIGTERM stop it gracefully, with status 0. Status 2 means a mistake in
// the command line, and 1 any other error.
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

func main() { cli.Main("multistream", parse, run) }

// run reads the streams until ctx ends. With -fake it plays the demonstration.
func run(ctx context.Context, f flags, out io.Writer, log *slog.Logger) error {
	if f.fake {
		return play(ctx, out, slog.New(slog.DiscardHandler))
	}
	aws, err := cli.LoadAWS(ctx)
	if err != nil {
		return err
	}
	return scheduler.New(scheduler.Config{
		Application:           f.application,
		WorkerID:              f.worker,
		StreamTracker:         f.tracker,
		StreamRefreshInterval: f.refresh,
		Kinesis:               kinesis.NewFromConfig(aws),
		Leases:                dynamodb.New(dynamodb.Config{Client: ddb.NewFromConfig(aws), Table: f.application}),
		Logger:                log,
	}, cli.NewPrinter(out).Processor).Run(ctx)
}
