package sim

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/kpl"
)

const (
	keys      = 12
	maxShards = 8 // open ones
)

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

// observeShards tells the Checker of all shards.
func (w *World) observeShards() {
	for _, s := range w.srv.Shards(streamName) {
		parents := []string{}
		for _, p := range []string{s.ParentID, s.AdjacentParentID} {
			if p != "" {
				parents = append(parents, p)
			}
		}
		w.check.Shard(s.ID, parents, s.Open)
	}
}

// produce writes some records, most of the time.
func (w *World) produce(d dice) {
	if d.roll("quiet").chance(0.3) {
		return
	}
	for i := range d.roll("burst").n(20) {
		w.put(d.roll("put", i))
	}
}

// put writes the next record of a random key: a plain record, or an aggregate of several.
func (w *World) put(d dice) {
	key := "key" + strconv.Itoa(d.roll("key").n(keys))
	w.putKey(key, d)
}

func (w *World) putKey(key string, d dice) {
	if d.roll("aggregate").chance(0.1) {
		w.putAggregate(key, 1+d.roll("size").n(5))
		return
	}
	w.write(key, w.payload(key), 1)
}

func (w *World) putAggregate(key string, n int) {
	var a kpl.Aggregator
	for range n {
		if err := a.Add(key, "", w.payload(key)); err != nil {
			w.check.Violate("world", "", "aggregate: %v", err)
			return
		}
	}
	w.write(key, a.Bytes(), n)
}

// write writes a Kinesis record with n user records.
func (w *World) write(key string, data []byte, n int) {
	err := w.check.Put(key, n, func() (shard, sequence string, err error) { return w.srv.Put(streamName, key, data) })
	if err != nil {
		w.check.Violate("world", "", "put: %v", err)
	}
}

func (w *World) payload(key string) []byte {
	n := w.sent[key]
	w.sent[key]++
	return []byte(key + "/" + strconv.Itoa(n))
}

// shards returns the open or the closed shards.
func (w *World) shards(open bool) []kinesistest.ShardInfo {
	var out []kinesistest.ShardInfo
	for _, s := range w.srv.Shards(streamName) {
		if s.Open == open {
			out = append(out, s)
		}
	}
	return out
}

func (w *World) split(d dice) {
	open := w.shards(true)
	if len(open) == 0 || len(open) >= maxShards {
		return
	}
	id := open[d.n(len(open))].ID
	low, high, err := w.srv.SplitShard(streamName, id)
	w.check.Note("", "split %s into %s and %s: %v", id, low, high, err)
	w.observeShards()
}

func (w *World) merge(d dice) {
	open := w.shards(true)
	if len(open) < 2 {
		return
	}
	first := open[d.n(len(open))]
	for _, second := range open {
		if child, err := w.srv.MergeShards(streamName, first.ID, second.ID); err == nil {
			w.check.Note("", "merge %s and %s into %s", first.ID, second.ID, child)
			break
		}
	}
	w.observeShards()
}

// double doubles the number of shards, as UpdateShardCount does.
func (w *World) double() {
	n := len(w.shards(true))
	if n == 0 || 2*n > maxShards {
		return
	}
	admin := awstest.Kinesis(w.t, w.srv)
	_, err := admin.UpdateShardCount(context.Background(), &kinesis.UpdateShardCountInput{
		StreamName: aws.String(streamName), TargetShardCount: aws.Int32(int32(2 * n)), ScalingType: types.ScalingTypeUniformScaling,
	})
	w.check.Note("", "double %d shards: %v", n, err)
	w.observeShards()
}

// trim removes the first records of a shard.
func (w *World) trim(d dice) {
	all := w.srv.Shards(streamName)
	if len(all) == 0 {
		return
	}
	id := all[d.n(len(all))].ID
	records := w.srv.Records(streamName, id)
	if len(records) == 0 {
		return
	}
	at := records[d.roll("at").n(len(records))].SequenceNumber
	if err := w.srv.TrimShard(streamName, id, at); err != nil {
		w.check.Violate("world", id, "trim: %v", err)
		return
	}
	w.check.Trim(id, kcl.ExtendedSequenceNumber{SequenceNumber: at})
}

// expire removes a closed shard.
func (w *World) expire(d dice) {
	closed := w.shards(false)
	if len(closed) == 0 {
		return
	}
	id := closed[d.n(len(closed))].ID
	if err := w.srv.ExpireShard(streamName, id); err != nil {
		w.check.Violate("world", id, "expire: %v", err)
		return
	}
	w.check.Note("", "expire %s", id)
	w.check.Expire(id)
}

func (w *World) deleteConsumer() {
	err := w.srv.DeleteConsumer(streamName, application)
	w.check.Note("", "delete the stream consumer: %v", err)
}
