//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	minShards, maxShards = 8, 20
	reshardEvery         = 4 * time.Second // on the average
)

// openShard is a shard that can be split or merged.
type openShard struct {
	id         string
	start, end *big.Int // hash keys, both inside
}

func (s openShard) width() *big.Int { return new(big.Int).Sub(s.end, s.start) }

// reshard splits and merges shards until ctx ends.
func reshard(ctx context.Context, client *kinesis.Client, counts *counts) {
	for {
		pause(ctx, reshardEvery/2+rand.N(reshardEvery))
		if ctx.Err() != nil {
			return
		}
		kind, err := reshardOnce(ctx, client)
		if err != nil {
			slog.Warn("reshard", "err", err)
			continue
		}
		counts.add(kind)
	}
}

// reshardOnce splits the widest shard, or merges the two neighbours that are the least wide
// together. So no shard gets more records than the service allows.
func reshardOnce(ctx context.Context, client *kinesis.Client) (kind string, err error) {
	shards, err := openShards(ctx, client)
	if err != nil {
		return "", err
	}
	if len(shards) >= maxShards || len(shards) > minShards && rand.N(2) == 0 {
		at := 0
		for i := range shards[:len(shards)-1] {
			if widthOfTwo(shards, i).Cmp(widthOfTwo(shards, at)) < 0 {
				at = i
			}
		}
		_, err = client.MergeShards(ctx, &kinesis.MergeShardsInput{
			StreamName: aws.String(stream), ShardToMerge: &shards[at].id, AdjacentShardToMerge: &shards[at+1].id,
		})
		return "merge", err
	}
	widest := slices.MaxFunc(shards, func(a, b openShard) int { return a.width().Cmp(b.width()) })
	middle := new(big.Int).Add(widest.start, new(big.Int).Rsh(widest.width(), 1))
	_, err = client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: aws.String(stream), ShardToSplit: &widest.id, NewStartingHashKey: aws.String(middle.String()),
	})
	return "split", err
}

// widthOfTwo is the width of a shard and its next neighbour.
func widthOfTwo(shards []openShard, i int) *big.Int {
	return new(big.Int).Sub(shards[i+1].end, shards[i].start)
}

// openShards lists the open shards in the order of their hash keys.
func openShards(ctx context.Context, client *kinesis.Client) ([]openShard, error) {
	in := &kinesis.ListShardsInput{
		StreamName: aws.String(stream), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest},
	}
	var shards []openShard
	for {
		out, err := client.ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, s := range out.Shards {
			start, ok := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
			end, ok2 := new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
			if !ok || !ok2 {
				return nil, fmt.Errorf("shard %s has the hash keys %v", *s.ShardId, s.HashKeyRange)
			}
			shards = append(shards, openShard{id: *s.ShardId, start: start, end: end})
		}
		if out.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	slices.SortFunc(shards, func(a, b openShard) int { return a.start.Cmp(b.start) })
	return shards, nil
}
