package sim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/internal/sim/check"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/kpl"
)

const (
	keys      = 12
	maxShards = 8 // open ones
)

// feed is the stream of a world, with its producer.
type feed struct {
	t     *testing.T
	srv   *kinesistest.Server
	check *check.Checker
	sent  map[string]int // records of each key
}

func newFeed(
	t *testing.T, network *memnet.Network, c *check.Checker, shards int, eventDelay time.Duration,
) *feed {
	srv := kinesistest.New(t, kinesistest.Config{
		DisableLimits: true,
		EventDelay:    eventDelay,
		Network:       network,
		Streams:       []kinesistest.StreamConfig{{Name: streamName, Shards: shards}},
	})
	s := &feed{t: t, srv: srv, check: c, sent: map[string]int{}}
	s.observe()
	return s
}

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

// observe tells the Checker of all shards.
func (s *feed) observe() {
	for _, sh := range s.srv.Shards(streamName) {
		parents := []string{}
		for _, p := range []string{sh.ParentID, sh.AdjacentParentID} {
			if p != "" {
				parents = append(parents, p)
			}
		}
		s.check.Shard(sh.ID, parents, sh.Open)
	}
}

// produce writes some records, most of the time.
func (s *feed) produce(d dice) {
	if d.roll("quiet").chance(0.3) {
		return
	}
	for i := range d.roll("burst").n(20) {
		s.put(d.roll("put", i))
		time.Sleep(d.roll("gap", i).between(time.Microsecond, 100*time.Microsecond))
	}
}

// put writes the next record of a random key: a plain record, or an aggregate of several.
func (s *feed) put(d dice) {
	key := "key" + strconv.Itoa(d.roll("key").n(keys))
	s.putKey(key, d)
}

func (s *feed) putKey(key string, d dice) {
	if d.roll("aggregate").chance(0.1) {
		s.putAggregate(key, 1+d.roll("size").n(5))
		return
	}
	s.write(key, s.payload(key), 1)
}

func (s *feed) putAggregate(key string, n int) {
	var a kpl.Aggregator
	for range n {
		if err := a.Add(key, "", s.payload(key)); err != nil {
			s.check.Violate("world", "", "aggregate: %v", err)
			return
		}
	}
	s.write(key, a.Bytes(), n)
}

// write writes a Kinesis record with n user records.
func (s *feed) write(key string, data []byte, n int) {
	err := s.check.Put(key, n, func() (shard, sequence string, err error) { return s.srv.Put(streamName, key, data) })
	if err != nil {
		s.check.Violate("world", "", "put: %v", err)
	}
}

func (s *feed) payload(key string) []byte {
	n := s.sent[key]
	s.sent[key]++
	return []byte(key + "/" + strconv.Itoa(n))
}

// shards returns the open or the closed shards.
func (s *feed) shards(open bool) []kinesistest.ShardInfo {
	var out []kinesistest.ShardInfo
	for _, sh := range s.srv.Shards(streamName) {
		if sh.Open == open {
			out = append(out, sh)
		}
	}
	return out
}

func (s *feed) split(d dice) {
	open := s.shards(true)
	if len(open) == 0 || len(open) >= maxShards {
		return
	}
	id := open[d.n(len(open))].ID
	low, high, err := s.srv.SplitShard(streamName, id)
	s.check.Note("", "split %s into %s and %s: %v", id, low, high, err)
	s.observe()
}

func (s *feed) merge(d dice) {
	open := s.shards(true)
	if len(open) < 2 {
		return
	}
	first := open[d.n(len(open))]
	for _, second := range open {
		if child, err := s.srv.MergeShards(streamName, first.ID, second.ID); err == nil {
			s.check.Note("", "merge %s and %s into %s", first.ID, second.ID, child)
			break
		}
	}
	s.observe()
}

// double doubles the number of shards, as UpdateShardCount does.
func (s *feed) double() {
	n := len(s.shards(true))
	if n == 0 || 2*n > maxShards {
		return
	}
	admin := awstest.Kinesis(s.t, s.srv)
	_, err := admin.UpdateShardCount(context.Background(), &kinesis.UpdateShardCountInput{
		StreamName: aws.String(streamName), TargetShardCount: aws.Int32(int32(2 * n)),
		ScalingType: types.ScalingTypeUniformScaling,
	})
	s.check.Note("", "double %d shards: %v", n, err)
	s.observe()
}

// observeRetention tells the Checker which records and shards have left the retention period. was
// are the shards before.
func (s *feed) observeRetention(was []kinesistest.ShardInfo) {
	for _, sh := range was {
		now := s.srv.Shards(streamName)
		if !slices.ContainsFunc(now, func(n kinesistest.ShardInfo) bool { return n.ID == sh.ID }) {
			s.check.Expire(sh.ID)
			continue
		}
		oldest := ""
		if records := s.srv.Records(streamName, sh.ID); len(records) > 0 {
			oldest = records[0].SequenceNumber
		}
		s.check.Trim(sh.ID, kcl.ExtendedSequenceNumber{SequenceNumber: oldest})
	}
}

func (s *feed) deleteConsumer() {
	err := s.srv.DeleteConsumer(streamName, application)
	s.check.Note("", "delete the stream consumer: %v", err)
}
