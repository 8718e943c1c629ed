// Package kcl holds the types that every part of the library shares. They are records and batches,
// positions, streams and shards, the record processor and its inputs, and the checkpointer. The
// errors that callers branch on are here as well. The package imports the standard library only and
// starts nothing.
//
// A program implements [Processor], hands a [ProcessorFactory] to scheduler.New and calls Run:
//
//	s := scheduler.New(scheduler.Config{
//		Application: "orders",
//		Streams:     []scheduler.StreamConfig{{Name: "orders"}},
//		Kinesis:     kinesis.NewFromConfig(aws),
//		Leases:      dynamodb.New(dynamodb.Config{Client: ddb, Table: "orders"}),
//	}, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor { return &orders{} })
//	err := s.Run(ctx)
//
// The names are those of the Java Kinesis Client Library in Go spelling. ShardRecordProcessor is
// [Processor], RecordProcessorCheckpointer is [Checkpointer], and InitialPositionInStream is
// [InitialPosition].
package kcl
