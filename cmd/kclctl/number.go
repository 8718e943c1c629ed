package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// awsDigits is how many digits a sequence number of Kinesis has.
const awsDigits = 56

// numberCheck are the flags of commands that take a sequence number.
type numberCheck struct {
	stream string
	force  bool
}

func (n *numberCheck) register(flags *flag.FlagSet) {
	flags.StringVar(&n.stream, "stream", "", "`name` or ARN of the stream, if the lease does not say it; Kinesis is asked for the range of the shard")
	flags.BoolVar(&n.force, "force", false, "also a sequence number that does not look like one of the shard")
}

// check refuses a sequence number that cannot be one of the lease's shard: reading
// would begin nowhere, or skip records, and the service says so only to the worker.
func (n *numberCheck) check(ctx context.Context, t *terminal, s *source, l leases.Lease, position kcl.ExtendedSequenceNumber) error {
	if position.IsSentinel() || n.force {
		return nil
	}
	name, why := s.streamOf(n.stream, l)
	known, err := s.ask(ctx, name)
	switch {
	case err != nil && n.stream != "":
		return err
	case err != nil:
		why = err.Error()
	case name != "":
		shard, listed := known.shards[l.ShardID]
		if !listed {
			return fmt.Errorf("kinesis does not list shard %s of stream %s, so %s cannot be one of its numbers; -force writes it all the same; nothing was changed", l.ShardID, name, position)
		}
		if err := outside(shard, position); err != nil {
			return fmt.Errorf("%w; -force writes it all the same; nothing was changed", err)
		}
		return nil
	}
	t.note("note: Kinesis was not asked for the range of the shard: %s", why)
	digits := awsDigits
	if l.Started() && !l.Finished() {
		digits = len(l.Checkpoint.SequenceNumber)
	}
	if got := len(position.SequenceNumber); got < digits-1 || got > digits+1 || (digits == awsDigits && got != awsDigits) {
		return fmt.Errorf("%s cannot be a sequence number of shard %s: it has %s, and those have %d; -force writes it all the same; nothing was changed",
			position, l.ShardID, plural(got, "digit"), digits)
	}
	return nil
}

// outside says why a sequence number cannot be one of a shard's, or is nil.
func outside(shard kcl.Shard, position kcl.ExtendedSequenceNumber) error {
	number := kcl.ExtendedSequenceNumber{SequenceNumber: position.SequenceNumber}
	first, last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.StartingSequenceNumber}, kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	switch {
	case first.Validate() == nil && number.Compare(first) < 0:
		return fmt.Errorf("%s is before the first sequence number of shard %s, %s", position, shard.ID, first)
	case shard.Closed() && last.Validate() == nil && number.Compare(last) > 0:
		return fmt.Errorf("%s is behind the last sequence number of shard %s, %s", position, shard.ID, last)
	case len(shard.StartingSequenceNumber) == awsDigits && len(position.SequenceNumber) != awsDigits:
		return fmt.Errorf("%s cannot be a sequence number of shard %s: the first one is %s", position, shard.ID, first)
	}
	return nil
}
