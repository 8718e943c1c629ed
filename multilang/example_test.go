package multilang_test

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
)

// printer prints each record and checkpoints each batch.
type printer struct{}

func (printer) Initialize(_ context.Context, in kcl.InitializeInput) error {
	fmt.Println("reading", in.Shard.ID, "from", in.Checkpoint)
	return nil
}

func (printer) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, r := range in.Records {
		fmt.Printf("%s\n", r.Data())
	}
	return in.Checkpointer.Checkpoint(ctx)
}

func (printer) LeaseLost(context.Context, kcl.LeaseLostInput) { fmt.Println("lease lost") }

func (printer) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (printer) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}

// A child needs no options: the daemon talks to it over its standard input and output. Here a
// daemon is played. In main, end the process with status 1 after an error.
func ExampleServe() {
	input, output := daemon()
	o := multilang.Options{Input: input, Output: output}
	if err := multilang.Serve(context.Background(), printer{}, o); err != nil {
		fmt.Println(err)
	}
	// Output:
	// reading shardId-0 from TRIM_HORIZON
	// hello
	// lease lost
}

// daemon plays a daemon that gives a child one record.
func daemon() (input io.Reader, output io.Writer) {
	input, toChild := io.Pipe()
	fromChild, output := io.Pipe()
	go func() {
		defer toChild.Close()
		answers := bufio.NewScanner(fromChild)
		for _, line := range []string{
			`{"action":"initialize","shardId":"shardId-0","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}`,
			`{"action":"processRecords","records":[{"data":"aGVsbG8=","partitionKey":"a","sequenceNumber":"1"}]}`,
			`{"action":"checkpoint","sequenceNumber":null,"error":null}`,
			`{"action":"leaseLost"}`,
		} {
			_, _ = fmt.Fprintln(toChild, line)
			for answers.Scan() && answers.Text() == "" { // an empty line comes before each message
			}
		}
	}()
	return input, output
}
