package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	spreadEach  = 250 * time.Millisecond // of time for each worker of a fleet, when it starts together
	spreadMost  = 30 * time.Second
	spreadAsk   = 5 * time.Second // how long may be spent on finding out how large the fleet is
	tagCheckers = 2               // of a fleet, on average, ask whose the stream consumer is,
	tagSpread   = 4 * time.Second // within so much more time: the service answers five a second
)

// spread waits for a random while, so that the workers of a fleet that is started
// together stay within what the service's control plane takes in a second: twenty
// descriptions of a stream for a whole account. A worker that is alone, as far as
// the table shows, does not wait.
func (s *Scheduler) spread(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, spreadAsk)
	workers := s.fleetSize(asking)
	cancel()
	var wait time.Duration
	if wait, s.checksTag = turn(workers); wait == 0 {
		return ctx.Err()
	}
	s.log.DebugContext(ctx, "worker waits its turn to start", "workers", workers, "wait", wait)
	return retry.Sleep(ctx, wait)
}

// turn draws when a worker of a fleet begins, and whether it is one of those that
// ask whose the stream consumer is.
func turn(workers int) (wait time.Duration, checksTag bool) {
	checksTag = workers <= tagCheckers || rand.N(workers) < tagCheckers
	if workers <= 1 {
		return 0, checksTag
	}
	within := min(time.Duration(workers)*spreadEach, spreadMost)
	if checksTag && workers > tagCheckers {
		within += min(within, tagSpread)
	}
	return rand.N(within), checksTag
}

// fleetSize says how many workers there may be: those that the table names as
// owners now, or as the last. A new table names none; then two for three shards
// are taken for likely. It is 0 when it cannot be told.
func (s *Scheduler) fleetSize(ctx context.Context) int {
	listing, err := s.cfg.Leases.List(ctx)
	if err != nil && !errors.Is(err, leases.ErrTableNotFound) {
		return 0
	}
	if len(listing.Leases) > 0 {
		names := map[string]bool{}
		for _, l := range listing.Leases {
			switch {
			case l.Owner != "":
				names[l.ActualOwner()] = true
			case l.NativeOwner != "":
				names[l.NativeOwner] = true
			}
		}
		return len(names)
	}
	shards := 0
	for _, st := range s.cfg.Streams {
		in := &kinesis.ListShardsInput{StreamName: aws.String(st.identifier().Name)}
		if st.ARN != "" {
			in.StreamARN = &st.ARN
		}
		out, err := s.cfg.Kinesis.ListShards(ctx, in)
		if err != nil {
			return 0
		}
		for _, sh := range out.Shards {
			if sh.SequenceNumberRange != nil && aws.ToString(sh.SequenceNumberRange.EndingSequenceNumber) == "" {
				shards++
			}
		}
	}
	return shards * 2 / 3
}
