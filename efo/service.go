package efo

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

const (
	// askTimeout bounds every call except SubscribeToShard.
	askTimeout = 10 * time.Second
	// lineageTimeout is shorter, because the reader reads nothing meanwhile and Lineage mostly
	// answers from memory. The time starts anew with each piece of an answer that arrives.
	lineageTimeout = 3 * time.Second
	// readPace is the time between two calls of GetRecords. The service allows five a second for
	// a shard, and other readers need some of them.
	readPace = 250 * time.Millisecond
	// maxEmptyReads is how many empty answers in a row GetRecords may give before the records
	// behind them.
	maxEmptyReads = 40
)

// service asks Kinesis about one shard, its stream and its stream consumer. Its calls do not use
// the connections of the subscriptions.
type service struct {
	Config
	shardID string
	http    aws.HTTPClient
	log     *slog.Logger
}

// options are those of every call.
func (s *service) options(o *kinesis.Options) { o.HTTPClient = s.http }

// list asks Lineage for the shard. known is false without a Lineage and without an answer.
func (s *service) list(ctx context.Context) (l shardread.Listing, known bool) {
	if s.Lineage == nil {
		return shardread.Listing{}, false
	}
	l, err := shardread.List(ctx, s.Lineage, s.shardID, lineageTimeout)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "shard list not available", slog.Any("err", err))
		return shardread.Listing{}, false
	}
	return l, true
}

// consumer asks for the stream consumer, and for the stream if the consumer does not exist. missing
// without an error says that the caller shall wait: the consumer is being registered or deleted, or
// the service did not answer about the stream.
func (s *service) consumer(ctx context.Context) (missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := &kinesis.DescribeStreamConsumerInput{ConsumerARN: &s.ConsumerARN}
	out, err := s.Client.DescribeStreamConsumer(ctx, in, s.options)
	switch {
	case err == nil && out.ConsumerDescription == nil:
		s.log.LogAttrs(ctx, slog.LevelWarn, "cannot describe the stream consumer", slog.Any("err", errNoDescription))
		return false, nil
	case err == nil:
		return out.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive, nil
	case !awserr.Is(err, "ResourceNotFoundException"):
		s.log.LogAttrs(ctx, slog.LevelWarn, "cannot describe the stream consumer", slog.Any("err", err))
		return false, nil
	}
	_, err = s.Client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{
		StreamName: aws.String(streamName(s.StreamARN)), StreamARN: &s.StreamARN,
	}, s.options)
	if awserr.Is(err, "ResourceNotFoundException") {
		return true, missingStream(s.StreamARN)
	}
	if err != nil && !awserr.Denied(err) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "cannot describe the stream", slog.Any("err", err))
		return true, nil
	}
	return true, missingConsumer(s.ConsumerARN)
}

// iterator gets a shard iterator at a position.
func (s *service) iterator(ctx context.Context, at kcl.Position) (*string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := shardread.IteratorInput(at)
	in.StreamName, in.StreamARN, in.ShardId = aws.String(streamName(s.StreamARN)), &s.StreamARN, &s.shardID
	out, err := s.Client.GetShardIterator(ctx, in, s.options)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

// getRecords asks for limit records at most, and for as many as possible if limit is 0. An answer
// may be large, so it fails only when nothing has arrived for askTimeout.
func (s *service) getRecords(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
	in := &kinesis.GetRecordsInput{StreamARN: &s.StreamARN, ShardIterator: iterator}
	if limit > 0 {
		in.Limit = aws.Int32(int32(limit))
	}
	return line.Call(ctx, askTimeout, func(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
		return s.Client.GetRecords(ctx, in, s.options)
	})
}

// oldestRecord returns the number of the oldest record of the shard, zero when the shard is empty.
func (s *service) oldestRecord(ctx context.Context) (kcl.ExtendedSequenceNumber, error) {
	iterator, err := s.iterator(ctx, kcl.Position{Kind: kcl.TrimHorizon})
	if err != nil {
		return kcl.ExtendedSequenceNumber{}, err
	}
	for empty := 0; empty < maxEmptyReads && aws.ToString(iterator) != ""; empty++ {
		out, err := s.getRecords(ctx, iterator, 1)
		if err != nil {
			return kcl.ExtendedSequenceNumber{}, err
		}
		if len(out.Records) > 0 {
			return kcl.ExtendedSequenceNumber{SequenceNumber: aws.ToString(out.Records[0].SequenceNumber)}, nil
		}
		if shardend.AtTip(out.MillisBehindLatest) {
			break
		}
		iterator = out.NextShardIterator
		if err := retry.Sleep(ctx, readPace); err != nil {
			return kcl.ExtendedSequenceNumber{}, err
		}
	}
	return kcl.ExtendedSequenceNumber{}, nil
}

// asker calls GetRecords for package shardend. The reader's position stays.
func (s *service) asker() shardend.Asker {
	return shardend.Asker{
		ShardID:  s.shardID,
		Iterator: s.iterator,
		Records: func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
			wait := retry.New(time.Second, 10*time.Second)
			for tries := 1; ; tries++ {
				if err := retry.Sleep(ctx, readPace); err != nil {
					return nil, err
				}
				// The service refuses for some time after the large answers of readRest.
				out, err := s.getRecords(ctx, iterator, limit)
				if !awserr.Throttled(err) || tries == maxEmptyReads {
					return out, err
				}
				if err := wait.Wait(ctx); err != nil {
					return nil, err
				}
			}
		},
	}
}
