package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases"
)

// numberCheck holds the flags of commands that take a sequence number.
type numberCheck struct {
	stream string
	force  bool
}

func (n *numberCheck) register(flags *flag.FlagSet) {
	flags.StringVar(&n.stream, "stream", "",
		"`name` or ARN of the stream, if the lease does not name it; Kinesis is asked for the range of the shard")
	flags.BoolVar(&n.force, "force", false, "accept a sequence number that cannot be one of the shard")
}

// check refuses a sequence number that cannot be one of the lease's shard. With such a number
// reading would fail, or skip records, and only the worker would notice.
func (n *numberCheck) check(
	ctx context.Context, t *terminal.Terminal, s *source, l leases.Lease, position kcl.ExtendedSequenceNumber,
) error {
	if position.IsSentinel() || n.force {
		return nil
	}
	name, reason := s.streamOf(n.stream, l)
	known, err := s.ask(ctx, name)
	switch {
	case err != nil && n.stream != "":
		return err
	case err != nil:
		reason = err.Error()
	case name != "":
		if shard, listed := known.Shards[l.ShardID]; listed {
			return refuseNumber(streaminfo.CheckRange(shard, position))
		}
		return refuseNumber(fmt.Errorf("kinesis does not list shard %s of stream %s, "+
			"so %s cannot be one of its sequence numbers", l.ShardID, name, position))
	}
	t.Note("note: Kinesis was not asked for the range of the shard: %s", reason)
	present := ""
	if l.Started() && !l.Finished() {
		present = l.Checkpoint.SequenceNumber
	}
	return refuseNumber(streaminfo.CheckDigits(l.ShardID, present, position))
}

func refuseNumber(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; nothing was changed; -force writes the number nevertheless", err)
}
