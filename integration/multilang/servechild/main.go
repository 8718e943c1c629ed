// Command servechild is a child on multilang.Serve, for the MultiLang tests.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/integration/multilang/ledger"
	"github.com/kinesis-go/kcl/multilang"
)

func main() {
	if err := run(); err != nil {
		slog.Error("the child failed", "err", err)
		os.Exit(1)
	}
}

func run() error {
	l, err := ledger.Open()
	if err != nil {
		return err
	}
	return multilang.Serve(context.Background(), &shard{Ledger: l}, multilang.Options{})
}

// shard checkpoints at the position of the last record of each batch.
type shard struct {
	*ledger.Ledger
	id   string
	last kcl.ExtendedSequenceNumber
}

func (s *shard) Initialize(_ context.Context, in kcl.InitializeInput) error {
	s.id = in.Shard.ID
	s.Note("initialize", s.id, in.Checkpoint.String(), "")
	return nil
}

func (s *shard) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	s.Noise()
	for _, record := range in.Records {
		s.last = record.Position()
		s.Record(s.id, ledger.Position(record.SequenceNumber(), record.SubSequenceNumber()), record.Data())
	}
	if len(in.Records) == 0 {
		return nil
	}
	return s.checkpoint(in.Checkpointer.CheckpointAt(ctx, s.last))
}

// checkpoint notes what became of a checkpoint at the last record.
func (s *shard) checkpoint(err error) error {
	switch {
	case err != nil:
		s.Note("refused", s.id, "", err.Error())
	case !s.last.IsZero():
		s.Note("checkpoint", s.id, ledger.Position(s.last.SequenceNumber, s.last.SubSequenceNumber), "")
	}
	return err
}

func (s *shard) LeaseLost(context.Context, kcl.LeaseLostInput) { s.Note("lost", s.id, "", "") }

func (s *shard) ShardEnded(context.Context, kcl.ShardEndedInput) error {
	s.Note("ended", s.id, "", "")
	return nil
}

func (s *shard) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	s.Note("requested", s.id, "", "")
	return s.checkpoint(in.Checkpointer.Checkpoint(ctx))
}
