// Command goguardianchild is a child on compat/goguardian/kcl, for the MultiLang tests.
package main

import (
	"log"
	"log/slog"
	"os"

	"github.com/kinesis-go/kcl/compat/goguardian/kcl"
	"github.com/kinesis-go/kcl/integration/multilang/ledger"
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
	return kcl.GetKCLProcess(&shard{Ledger: l}, kcl.WithLogger(log.Default())).Run()
}

// shard checkpoints by number after each batch, and without one at the end.
type shard struct {
	*ledger.Ledger
	id   string
	last string
}

func (s *shard) Initialize(in *kcl.InitializationInput) {
	s.id = in.ShardID
	s.Note("initialize", s.id, "", "")
}

func (s *shard) ProcessRecords(in *kcl.ProcessRecordsInput) {
	s.Noise()
	for _, record := range in.Records {
		s.last = ledger.Position(record.SequenceNumber, record.SubSequenceNumber)
		s.Record(s.id, s.last, record.Data)
	}
	if len(in.Records) == 0 {
		return
	}
	// A number alone is the first record of its aggregate.
	number := in.Records[len(in.Records)-1].SequenceNumber
	s.checkpoint(in.Checkpoint(&number), ledger.Position(number, 0))
}

// checkpoint notes what became of a checkpoint.
func (s *shard) checkpoint(err error, position string) {
	switch {
	case err != nil:
		s.Note("refused", s.id, "", err.Error())
	case position != "":
		s.Note("checkpoint", s.id, position, "")
	}
}

func (s *shard) LeaseLost(*kcl.LeaseLostInput) { s.Note("lost", s.id, "", "") }

func (s *shard) ShardEnded(in *kcl.ShardEndedInput) {
	s.checkpoint(in.Checkpoint(nil), s.last)
	s.Note("ended", s.id, "", "")
}

func (s *shard) ShutdownRequested(in *kcl.ShutdownRequestedInput) {
	s.Note("requested", s.id, "", "")
	s.checkpoint(in.Checkpoint(nil), s.last)
}
