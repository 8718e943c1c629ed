package kinesistest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func (e env) list(in *kinesis.ListShardsInput) []string {
	e.t.Helper()
	if in.NextToken == nil && in.StreamARN == nil {
		in.StreamName = aws.String(testStream)
	}
	out, err := e.cl.ListShards(e.t.Context(), in)
	require.NoError(e.t, err)
	ids := []string{}
	for _, s := range out.Shards {
		ids = append(ids, *s.ShardId)
	}
	return ids
}

func ids(numbers ...int) []string {
	list := []string{}
	for _, n := range numbers {
		list = append(list, shardID(n))
	}
	return list
}

// TestListShardsFilters: shard 0 and 1 from the start; 0 is split into 2 and 3 after an hour, 2 and
// 3 are merged into 4 after two.
func TestListShardsFilters(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		begin := time.Now()
		time.Sleep(time.Hour)
		_, _, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		split := time.Now()
		time.Sleep(time.Hour)
		_, err = e.srv.MergeShards(testStream, shardID(2), shardID(3))
		require.NoError(t, err)
		merge := time.Now()
		time.Sleep(time.Hour)

		filter := func(kind types.ShardFilterType, at time.Time) *kinesis.ListShardsInput {
			f := &types.ShardFilter{Type: kind}
			if !at.IsZero() {
				f.Timestamp = &at
			}
			return &kinesis.ListShardsInput{ShardFilter: f}
		}
		for name, c := range map[string]struct {
			in   *kinesis.ListShardsInput
			want []string
		}{
			"none":            {&kinesis.ListShardsInput{}, ids(0, 1, 2, 3, 4)},
			"exclusive start": {&kinesis.ListShardsInput{ExclusiveStartShardId: aws.String(shardID(2))}, ids(3, 4)},
			"after shard": {&kinesis.ListShardsInput{ShardFilter: &types.ShardFilter{
				Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String(shardID(1)),
			}}, ids(2, 3, 4)},
			"at trim horizon":     {filter(types.ShardFilterTypeAtTrimHorizon, time.Time{}), ids(0, 1)},
			"from trim horizon":   {filter(types.ShardFilterTypeFromTrimHorizon, time.Time{}), ids(0, 1, 2, 3, 4)},
			"at latest":           {filter(types.ShardFilterTypeAtLatest, time.Time{}), ids(1, 4)},
			"at beginning":        {filter(types.ShardFilterTypeAtTimestamp, begin), ids(0, 1)},
			"at before beginning": {filter(types.ShardFilterTypeAtTimestamp, begin.Add(-48*time.Hour)), ids(0, 1)},
			"at split":            {filter(types.ShardFilterTypeAtTimestamp, split), ids(0, 1, 2, 3)},
			"at between":          {filter(types.ShardFilterTypeAtTimestamp, split.Add(time.Minute)), ids(1, 2, 3)},
			"at merge":            {filter(types.ShardFilterTypeAtTimestamp, merge), ids(1, 2, 3, 4)},
			"at now":              {filter(types.ShardFilterTypeAtTimestamp, time.Now()), ids(1, 4)},
			"from beginning":      {filter(types.ShardFilterTypeFromTimestamp, begin), ids(0, 1, 2, 3, 4)},
			"from old":            {filter(types.ShardFilterTypeFromTimestamp, begin.Add(-48*time.Hour)), ids(0, 1, 2, 3, 4)},
			"from split":          {filter(types.ShardFilterTypeFromTimestamp, split), ids(0, 1, 2, 3, 4)},
			"from between":        {filter(types.ShardFilterTypeFromTimestamp, split.Add(time.Minute)), ids(1, 2, 3, 4)},
			"from now":            {filter(types.ShardFilterTypeFromTimestamp, time.Now()), ids(1, 4)},
		} {
			require.Equal(t, c.want, e.list(c.in), name)
		}
		// A day later the horizon lies between the split and the merge.
		time.Sleep(time.Until(merge.Add(24*time.Hour - 30*time.Minute)))
		require.Equal(t, ids(1, 2, 3), e.list(filter(types.ShardFilterTypeAtTrimHorizon, time.Time{})))
		require.Equal(t, ids(1, 2, 3, 4), e.list(&kinesis.ListShardsInput{}))
		require.Equal(t, ids(1, 2, 3), e.list(filter(types.ShardFilterTypeAtTimestamp, begin)))

		for name, f := range map[string]types.ShardFilter{
			"InvalidArgumentException": {Type: types.ShardFilterTypeAfterShardId},
			"ValidationException":      {Type: "SOMETIMES"},
		} {
			_, err := e.cl.ListShards(e.t.Context(),
				&kinesis.ListShardsInput{StreamName: aws.String(testStream), ShardFilter: &f})
			requireCode(t, name, err)
		}
		_, err = e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{
			StreamName:  aws.String(testStream),
			ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp},
		})
		requireCode(t, "InvalidArgumentException", err)
	})
}

func TestListShardsPaging(t *testing.T) {
	inBubble(t, 5, func(t *testing.T, e env) {
		_, _, err := e.srv.SplitShard(testStream, shardID(4))
		require.NoError(t, err)
		in := &kinesis.ListShardsInput{
			StreamName: aws.String(testStream), MaxResults: aws.Int32(2),
			ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest},
		}
		var got []string
		var token *string
		for pages := 0; ; pages++ {
			require.Less(t, pages, 3)
			out, err := e.cl.ListShards(e.t.Context(), in)
			require.NoError(t, err)
			for _, s := range out.Shards {
				got = append(got, *s.ShardId)
			}
			if out.NextToken == nil {
				break
			}
			token = out.NextToken
			in = &kinesis.ListShardsInput{NextToken: token, MaxResults: aws.Int32(2)}
		}
		require.Equal(t, ids(0, 1, 2, 3, 5, 6), got, "the token keeps the filter")

		for name, change := range map[string]func(in *kinesis.ListShardsInput){
			"name":  func(in *kinesis.ListShardsInput) { in.StreamName = aws.String(testStream) },
			"time":  func(in *kinesis.ListShardsInput) { in.StreamCreationTimestamp = aws.Time(time.Now()) },
			"start": func(in *kinesis.ListShardsInput) { in.ExclusiveStartShardId = aws.String(shardID(0)) },
			"junk":  func(in *kinesis.ListShardsInput) { in.NextToken = aws.String("junk") },
			"other": func(in *kinesis.ListShardsInput) { in.StreamARN = aws.String(e.srv.StreamARN("other")) },
		} {
			in := &kinesis.ListShardsInput{NextToken: token}
			change(in)
			_, err := e.cl.ListShards(e.t.Context(), in)
			require.NotEmpty(t, name)
			requireCode(t, "InvalidArgumentException", err)
		}
		time.Sleep(300 * time.Second)
		require.Equal(t, ids(5, 6),
			e.list(&kinesis.ListShardsInput{NextToken: token, StreamARN: aws.String(e.srv.StreamARN(testStream))}))
		time.Sleep(time.Millisecond)
		_, err = e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{NextToken: token})
		requireCode(t, "ExpiredNextTokenException", err)
	})
}

func TestListShardsPageSizes(t *testing.T) {
	inBubble(t, 1001, func(t *testing.T, e env) {
		require.Len(t, e.list(&kinesis.ListShardsInput{}), 1000)
		require.Len(t, e.list(&kinesis.ListShardsInput{MaxResults: aws.Int32(10000)}), 1000)
		_, err := e.cl.ListShards(e.t.Context(),
			&kinesis.ListShardsInput{StreamName: aws.String(testStream), MaxResults: aws.Int32(10001)})
		requireCode(t, "ValidationException", err)
		d, err := e.cl.DescribeStream(e.t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		require.Len(t, d.StreamDescription.Shards, 100)
		require.True(t, *d.StreamDescription.HasMoreShards)
		d, err = e.cl.DescribeStream(e.t.Context(), &kinesis.DescribeStreamInput{
			StreamName: aws.String(testStream), ExclusiveStartShardId: d.StreamDescription.Shards[99].ShardId,
			Limit: aws.Int32(10000),
		})
		require.NoError(t, err)
		require.Len(t, d.StreamDescription.Shards, 901)
	})
	withConfig(t, kinesistest.Config{PageSize: 3, Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: 7}}},
		func(t *testing.T, e env) {
			require.Len(t, e.list(&kinesis.ListShardsInput{}), 3)
		})
}

// TestListShardsWithoutShards: what a fault leaves out of a list, page by page, is there for all
// other calls.
func TestListShardsWithoutShards(t *testing.T) {
	withConfig(t, kinesistest.Config{PageSize: 2, Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: 3}}},
		func(t *testing.T, e env) {
			omit := func(ids ...string) {
				e.srv.Inject(kinesistest.Fault{
					Operation: "ListShards", Times: 1,
					Do: []kinesistest.Action{kinesistest.OmitShards(ids...)},
				})
			}
			omit(shardID(0), shardID(2))
			require.Equal(t, ids(1), e.list(&kinesis.ListShardsInput{}))
			omit()
			require.Empty(t, e.list(&kinesis.ListShardsInput{}))
			require.Equal(t, ids(0, 1), e.list(&kinesis.ListShardsInput{}))
			out, err := e.cl.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
			require.NoError(t, err)
			omit(shardID(1))
			require.Equal(t, ids(2), e.list(&kinesis.ListShardsInput{NextToken: out.NextToken}))
			d, err := e.cl.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(testStream)})
			require.NoError(t, err)
			require.Len(t, d.StreamDescription.Shards, 2)
		})
}

// TestListShardsStreamCreationTimestamp: it tells streams of one name apart.
func TestListShardsStreamCreationTimestamp(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		created := func() *time.Time {
			out, err := e.cl.DescribeStreamSummary(e.t.Context(),
				&kinesis.DescribeStreamSummaryInput{StreamName: aws.String(testStream)})
			require.NoError(t, err)
			return out.StreamDescriptionSummary.StreamCreationTimestamp
		}
		first := created()
		require.Len(t, e.list(&kinesis.ListShardsInput{StreamCreationTimestamp: first}), 1)
		require.NoError(t, e.srv.DeleteStream(testStream))
		require.NoError(t, e.srv.CreateStream(kinesistest.StreamConfig{Name: testStream}))
		require.True(t, created().After(*first), "a name that is used again gets a later time, however soon")
		_, err := e.cl.ListShards(e.t.Context(),
			&kinesis.ListShardsInput{StreamName: aws.String(testStream), StreamCreationTimestamp: first})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

func TestListShardsRate(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		for range 1000 {
			e.list(&kinesis.ListShardsInput{})
		}
		_, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		requireCode(t, "LimitExceededException", err)
	})
}

func TestSplitShard(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		_, before, err := e.srv.PutWithHashKey(testStream, "k", "500", []byte("x"))
		require.NoError(t, err)
		split := func(shard, at string) error {
			_, err := e.cl.SplitShard(e.t.Context(),
				&kinesis.SplitShardInput{StreamName: aws.String(testStream), ShardToSplit: &shard, NewStartingHashKey: &at})
			return err
		}
		requireCode(t, "ResourceNotFoundException", split(shardID(7), "1000"))
		requireCode(t, "InvalidArgumentException", split(shardID(0), "1"))
		requireCode(t, "InvalidArgumentException", split(shardID(0), "170141183460469231731687303715884105727"))
		time.Sleep(time.Second)
		requireCode(t, "InvalidArgumentException", split(shardID(1), "1000"))
		requireCode(t, "ValidationException", split(shardID(0), "x"))
		require.NoError(t, split(shardID(0), "1000"))

		// While the stream is UPDATING the parent is open and nothing else may change.
		summary, err := e.cl.DescribeStreamSummary(e.t.Context(),
			&kinesis.DescribeStreamSummaryInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		require.Equal(t, types.StreamStatusUpdating, summary.StreamDescriptionSummary.StreamStatus)
		require.Len(t, e.srv.Shards(testStream), 2)
		_, err = e.putRecord("k", "y")
		require.NoError(t, err)
		requireCode(t, "ResourceInUseException", split(shardID(1), "200000000000000000000000000000000000000"))
		e.settle()

		out, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		require.Len(t, out.Shards, 4)
		parent, low, high := out.Shards[0], out.Shards[2], out.Shards[3]
		require.NotNil(t, parent.SequenceNumberRange.EndingSequenceNumber)
		require.Equal(t, "0", *low.HashKeyRange.StartingHashKey)
		require.Equal(t, "999", *low.HashKeyRange.EndingHashKey)
		require.Equal(t, "1000", *high.HashKeyRange.StartingHashKey)
		require.Equal(t, *parent.HashKeyRange.EndingHashKey, *high.HashKeyRange.EndingHashKey)
		for _, c := range []types.Shard{low, high} {
			require.Equal(t, shardID(0), *c.ParentShardId)
			require.Nil(t, c.AdjacentParentShardId)
			require.Nil(t, c.SequenceNumberRange.EndingSequenceNumber)
			end := number(t, parent.SequenceNumberRange.EndingSequenceNumber)
			require.Equal(t, 1, number(t, c.SequenceNumberRange.StartingSequenceNumber).Cmp(end),
				"a child's numbers are later than its parent's")
		}
		require.GreaterOrEqual(t, number(t, parent.SequenceNumberRange.EndingSequenceNumber).Cmp(number(t, &before)), 0)
		time.Sleep(time.Second)
		requireCode(t, "InvalidArgumentException", split(shardID(0), "500")) // closed
		shard, _, err := e.srv.PutWithHashKey(testStream, "k", "500", []byte("z"))
		require.NoError(t, err)
		require.Equal(t, shardID(2), shard)
	})
}

func TestMergeShards(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, e env) {
		merge := func(a, b int) error {
			_, err := e.cl.MergeShards(e.t.Context(), &kinesis.MergeShardsInput{
				StreamName: aws.String(testStream), ShardToMerge: aws.String(shardID(a)),
				AdjacentShardToMerge: aws.String(shardID(b)),
			})
			return err
		}
		requireCode(t, "InvalidArgumentException", merge(0, 2))
		requireCode(t, "InvalidArgumentException", merge(1, 1))
		requireCode(t, "ResourceNotFoundException", merge(0, 9))
		require.NoError(t, merge(1, 0)) // in either order
		e.settle()
		out, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		child := out.Shards[3]
		require.Equal(t, shardID(1), *child.ParentShardId)
		require.Equal(t, shardID(0), *child.AdjacentParentShardId)
		require.Equal(t, "0", *child.HashKeyRange.StartingHashKey)
		require.Equal(t, *out.Shards[1].HashKeyRange.EndingHashKey, *child.HashKeyRange.EndingHashKey)
		for _, parent := range out.Shards[:2] {
			end := number(t, parent.SequenceNumberRange.EndingSequenceNumber)
			require.Equal(t, 1, number(t, child.SequenceNumberRange.StartingSequenceNumber).Cmp(end))
		}
		time.Sleep(time.Second)
		requireCode(t, "InvalidArgumentException", merge(0, 2))
		require.NoError(t, merge(3, 2))
		e.settle()
		atLatest := &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}
		require.Equal(t, ids(4), e.list(&kinesis.ListShardsInput{ShardFilter: atLatest}))
	})
}

// TestUpdateShardCount: the open shards end up equal, whatever the way there.
func TestUpdateShardCount(t *testing.T) {
	for _, c := range []struct{ from, to int }{{1, 2}, {2, 3}, {3, 2}, {4, 2}, {5, 7}, {7, 5}, {4, 4}, {10, 20}} {
		t.Run(strconv.Itoa(c.from)+" to "+strconv.Itoa(c.to), func(t *testing.T) {
			inBubble(t, c.from, func(t *testing.T, e env) {
				_, err := e.cl.UpdateShardCount(e.t.Context(), &kinesis.UpdateShardCountInput{
					StreamName: aws.String(testStream), TargetShardCount: aws.Int32(int32(c.to)),
					ScalingType: types.ScalingTypeUniformScaling,
				})
				require.NoError(t, err)
				e.settle()
				want := kinesistest.New(t,
					kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "even", Shards: c.to}}}).Shards("even")
				got := map[string]string{}
				for _, s := range e.srv.Shards(testStream) {
					if s.Open {
						got[s.StartingHashKey] = s.EndingHashKey
					}
				}
				require.Len(t, got, c.to)
				for _, s := range want {
					require.Equal(t, s.EndingHashKey, got[s.StartingHashKey])
				}
			})
		})
	}
}

func TestUpdateShardCountRefused(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, e env) {
		scale := func(n int32) error {
			_, err := e.cl.UpdateShardCount(e.t.Context(), &kinesis.UpdateShardCountInput{
				StreamName: aws.String(testStream), TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling,
			})
			return err
		}
		requireCode(t, "InvalidArgumentException", scale(9))
		requireCode(t, "InvalidArgumentException", scale(1))
		requireCode(t, "ValidationException", scale(0))
		for range 5 {
			require.NoError(t, scale(8))
			e.settle()
			require.NoError(t, scale(4))
			time.Sleep(time.Second)
		}
		requireCode(t, "LimitExceededException", scale(8)) // ten in 24 hours
		time.Sleep(24 * time.Hour)
		require.NoError(t, scale(8))
	})
}

func TestReshardNeedsProvisionedMode(t *testing.T) {
	withConfig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: 2, OnDemand: true}}},
		func(t *testing.T, e env) {
			name := aws.String(testStream)
			_, err := e.cl.SplitShard(e.t.Context(), &kinesis.SplitShardInput{
				StreamName:   name,
				ShardToSplit: aws.String(shardID(0)), NewStartingHashKey: aws.String("1000"),
			})
			requireCode(t, "ValidationException", err)
			_, err = e.cl.MergeShards(e.t.Context(), &kinesis.MergeShardsInput{
				StreamName:   name,
				ShardToMerge: aws.String(shardID(0)), AdjacentShardToMerge: aws.String(shardID(1)),
			})
			requireCode(t, "ValidationException", err)
			_, err = e.cl.UpdateShardCount(e.t.Context(), &kinesis.UpdateShardCountInput{
				StreamName:       name,
				TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling,
			})
			requireCode(t, "ValidationException", err)
		})
}

func TestShardLimit(t *testing.T) {
	withConfig(t, kinesistest.Config{ShardLimit: 2, Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: 2}}},
		func(t *testing.T, e env) {
			name := aws.String(testStream)
			_, err := e.cl.SplitShard(e.t.Context(), &kinesis.SplitShardInput{
				StreamName:   name,
				ShardToSplit: aws.String(shardID(0)), NewStartingHashKey: aws.String("1000"),
			})
			require.Contains(t, requireCode(t, "LimitExceededException", err).ErrorMessage(), "Limit: 2.")
			_, err = e.cl.UpdateShardCount(e.t.Context(), &kinesis.UpdateShardCountInput{
				StreamName:       name,
				TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling,
			})
			requireCode(t, "LimitExceededException", err)
			_, err = e.cl.CreateStream(e.t.Context(),
				&kinesis.CreateStreamInput{StreamName: aws.String("b"), ShardCount: aws.Int32(1)})
			requireCode(t, "LimitExceededException", err)
		})
}
