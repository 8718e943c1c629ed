// Command program is written against the API of goguardian-go-kcl, without what this library adds.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/kinesis-go/kcl/compat/goguardian/kcl"
)

type sampleProcessor struct {
	shard      string
	checkpoint kcl.CheckpointFunc
	last       kcl.Record
}

func (s *sampleProcessor) Initialize(input *kcl.InitializationInput) {
	s.shard = input.ShardID
	fmt.Println("initialized", s.shard)
}

func (s *sampleProcessor) ProcessRecords(input *kcl.ProcessRecordsInput) {
	for _, record := range input.Records {
		fmt.Println("record", string(record.Data), record.PartitionKey, record.SequenceNumber)
		s.last = record
	}
	s.checkpoint = input.Checkpoint
	if len(input.Records) > 1 {
		if err := input.Checkpoint(&input.Records[0].SequenceNumber); err != nil {
			fmt.Println("checkpoint failed:", err)
		}
		return
	}
	var number *string
	if err := s.checkpoint(number); err != nil {
		fmt.Println("checkpoint failed:", err)
	}
}

func (s *sampleProcessor) LeaseLost(_ *kcl.LeaseLostInput) { fmt.Println("lease lost") }

func (s *sampleProcessor) ShardEnded(input *kcl.ShardEndedInput) {
	fmt.Println("shard ended:", input.Checkpoint(nil))
}

func (s *sampleProcessor) ShutdownRequested(input *kcl.ShutdownRequestedInput) {
	fmt.Println("shutdown requested:", input.Checkpoint(nil))
}

func main() {
	var options []kcl.Option
	options = append(options, kcl.WithLogger(log.New(os.Stderr, "child: ", 0)))
	var processor kcl.RecordProcessor = &sampleProcessor{}
	var process kcl.KCLProcess = kcl.GetKCLProcess(processor, options...)
	if err := process.Run(); err != nil {
		log.Fatal(err)
	}
}
