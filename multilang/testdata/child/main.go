// Command child is a child of a MultiLangDaemon that prints whatever could disturb the protocol.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
)

func main() {
	fmt.Println("before Serve, a line that is no message")
	if err := multilang.Serve(context.Background(), &processor{}, multilang.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("after Serve")
}

type processor struct{}

func (p *processor) Initialize(_ context.Context, in kcl.InitializeInput) error {
	fmt.Printf("shard %s of %s\n", in.Shard.ID, in.Stream.ARN)
	return nil
}

// ProcessRecords prints the records, of which some look like messages.
func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, r := range in.Records {
		fmt.Printf("%s", r.Data())
		fmt.Fprintf(os.NewFile(1, "descriptor 1"), "\n%s\n", r.Data())
	}
	echo := exec.CommandContext(ctx, "echo", `{"action":"status","responseFor":"processRecords"}`)
	echo.Stdout = os.Stdout
	if err := echo.Run(); err != nil {
		return err
	}
	return in.Checkpointer.Checkpoint(ctx)
}

func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) { fmt.Println("lease lost") }

func (p *processor) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}
