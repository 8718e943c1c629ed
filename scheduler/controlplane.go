package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/metrics"
)

// controlPlane calls Kinesis to describe streams and to find single shards. Other types read
// records (sources), list shards (lineage) and register stream consumers (registrar).
type controlPlane struct {
	client      *kinesis.Client
	application string
	multi       bool // lease keys name the stream
	metrics     *metrics.Metrics
	log         *slog.Logger
}

// errCreating says that a stream is not ready yet. It is transient.
var errCreating = errors.New("the stream is still being created")

// describe asks the service for a configured stream. field names its place in the configuration,
// for errors.
func (p *controlPlane) describe(ctx context.Context, field string, cfg StreamConfig) (*stream, error) {
	// AWS accepts name and ARN together. Some servers for tests know only names.
	in := &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(cfg.identifier().Name)}
	if cfg.ARN != "" {
		in.StreamARN = &cfg.ARN
	}
	out, err := p.call(ctx, in)
	var d *types.StreamDescriptionSummary
	if err == nil {
		d = out.StreamDescriptionSummary
	}
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		return nil, fmt.Errorf("%w: %s: there is no %s in region %s: create it, or correct the name or the region: %w",
			kcl.ErrStreamNotFound, field, cfg.resource(), p.client.Options().Region, err)
	case err != nil:
		return nil, awserr.Explain(err, "kinesis:DescribeStreamSummary", cfg.resource())
	case d.StreamStatus == types.StreamStatusDeleting:
		return nil, fmt.Errorf("%w: %s: %s is being deleted", kcl.ErrStreamNotFound, field, cfg.resource())
	case d.StreamStatus == types.StreamStatusCreating:
		return nil, fmt.Errorf("%s: %s: %w", field, cfg.resource(), errCreating)
	}
	arn := aws.ToString(d.StreamARN)
	id, err := kcl.ParseStreamARN(arn)
	if err != nil {
		return nil, fmt.Errorf("%s: the service's ARN of %s: %w", field, cfg.resource(), err)
	}
	if cfg.ARN != "" && arn != cfg.ARN || cfg.Name != "" && id.Name != cfg.Name {
		return nil, fmt.Errorf("%w: %s: %s has the ARN %s at the service: correct the ARN", kcl.ErrInvalidStream, field,
			cfg.resource(), arn)
	}
	created := aws.ToTime(d.StreamCreationTimestamp)
	switch {
	case !created.IsZero():
		id.CreationEpoch = created.Unix()
	case p.multi:
		return nil, fmt.Errorf("%w: %s: the service does not say when %s was created, and lease keys of several streams "+
			"contain that time: read this stream with an application of its own", kcl.ErrInvalidStream, field, cfg.resource())
	}
	label := id.Name
	if p.multi {
		if cfg.CreationEpoch > 0 {
			id.CreationEpoch = cfg.CreationEpoch
		}
		// A name is not unique: streams of other accounts and deleted streams can have the same name.
		label = id.String()
	}
	st := newStream(streamIdentity{
		field: field, cfg: cfg, id: id, label: label, created: created, multi: p.multi,
		marks: shardsync.MarksOf(p.application, id, p.multi),
	}, &lineage{client: p.client, name: id.Name, arn: arn, opened: latestAt(out.ResultMetadata)})
	st.metrics = p.metrics.Stream(id.String())
	st.placing.update(d, time.Now())
	st.retention.update(d)
	return st, nil
}

// summary asks for the description of an open stream.
func (p *controlPlane) summary(ctx context.Context, st *stream) (*types.StreamDescriptionSummary, error) {
	out, err := p.call(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &st.id.Name, StreamARN: &st.id.ARN})
	if err != nil {
		return nil, err
	}
	return out.StreamDescriptionSummary, nil
}

func (p *controlPlane) call(
	ctx context.Context, in *kinesis.DescribeStreamSummaryInput,
) (*kinesis.DescribeStreamSummaryOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := p.client.DescribeStreamSummary(ctx, in)
	if err != nil {
		return nil, err
	}
	if out.StreamDescriptionSummary == nil {
		return nil, errors.New("the answer has no StreamDescriptionSummary")
	}
	return out, nil
}

// checkSameStream returns an error unless the service confirms the stream's creation time. A later
// stream of the same name has none of the old shards.
func (p *controlPlane) checkSameStream(ctx context.Context, st *stream) error {
	d, err := p.summary(ctx, st)
	switch {
	case err != nil:
		return awserr.Explain(err, "kinesis:DescribeStreamSummary", st.id.ARN)
	case d.StreamCreationTimestamp == nil || !st.sameCreation(*d.StreamCreationTimestamp):
		return errors.New("the service does not confirm that the leases were made for this stream")
	}
	return nil
}

// streamGone asks the service, after the error cause, whether a stream was deleted or created
// again. If so, it returns the error with which to stop the stream.
func (p *controlPlane) streamGone(ctx context.Context, st *stream, cause error) error {
	switch {
	case errors.Is(cause, kcl.ErrStreamRecreated):
		return cause
	case errors.Is(cause, kcl.ErrAccessDenied) && !errors.Is(cause, kcl.ErrShardNotFound):
		return nil // but a shard that polling does not find, while fan-out is denied, needs the check
	}
	d, err := p.summary(ctx, st)
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s was deleted: %w", kcl.ErrStreamNotFound, st.id.ARN, cause)
	case err == nil && d.StreamCreationTimestamp != nil && !st.sameCreation(*d.StreamCreationTimestamp):
		return st.errRecreated(st.created, *d.StreamCreationTimestamp, true)
	}
	return nil // also if the call failed: the caller tries again
}

// shardExpired tells whether a shard that is not in list has left the retention period. Then the
// shard has been absent from lists for goneTime, and a direct read does not find it.
func (p *controlPlane) shardExpired(ctx context.Context, st *stream, list *shardList, shardID string) (bool, error) {
	if gone, _ := st.absent.observe(list, shardID); !gone {
		return false, nil
	}
	return p.shardGone(ctx, st, shardID)
}

// shardGone tells whether a direct read does not find a shard that ListShards omits. One such read
// proves nothing, see [absences].
func (p *controlPlane) shardGone(ctx context.Context, st *stream, shardID string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := p.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &st.id.Name, StreamARN: &st.id.ARN, ShardId: &shardID,
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	switch {
	case err == nil:
		st.absent.found(shardID)
		return false, nil
	case awserr.Is(err, "ResourceNotFoundException"):
		// The stream itself may have been deleted. Only an existing stream proves that the shard is gone.
		_, err := p.summary(ctx, st)
		return err == nil, err
	}
	return false, fmt.Errorf("find out whether shard %s has expired: %w", shardID,
		awserr.Explain(err, "kinesis:GetShardIterator", st.id.ARN))
}

// pastRetention tells whether age exceeds the retention period of the stream, and returns that
// period. It calls the service only for an age that can exceed the period.
func (p *controlPlane) pastRetention(ctx context.Context, st *stream, age time.Duration) (bool, time.Duration) {
	keeps, asked := st.retention.known()
	if keeps == 0 || age < min(keeps, minRetention) {
		return false, keeps
	}
	if asked > retentionAge {
		_ = st.retention.shared.Do(ctx, "", retentionTry, func() error { // after an error the last known period counts
			d, err := p.summary(ctx, st)
			if err == nil {
				st.retention.update(d)
			}
			return err
		})
		keeps, _ = st.retention.known()
	}
	return age >= keeps, keeps
}

// placedByService tells whether the service chooses the shard of each record without regard to its
// key. If that is unknown, it returns true, so that no record is dropped.
func (p *controlPlane) placedByService(ctx context.Context, st *stream) bool {
	byService, fresh := st.placing.known(time.Now())
	if fresh {
		return byService
	}
	// All shards of the stream may need the answer at the same time, for every batch.
	err := st.placing.shared.Do(ctx, "", placingTry, func() error {
		now := time.Now()
		d, err := p.summary(ctx, st)
		if err != nil {
			p.log.WarnContext(ctx, "distribution of records is unknown, dropping no record", "stream", st.label, "err", err)
			return err
		}
		st.placing.update(d, now)
		return nil
	})
	if err != nil {
		return true
	}
	byService, _ = st.placing.known(time.Now())
	return byService
}

// openShards counts the open shards of streams in the first page of ListShards of each stream.
func (p *controlPlane) openShards(ctx context.Context, streams []StreamConfig) (int, error) {
	open := 0
	for _, st := range streams {
		in := &kinesis.ListShardsInput{StreamName: aws.String(st.identifier().Name)}
		if st.ARN != "" {
			in.StreamARN = &st.ARN
		}
		out, err := p.client.ListShards(ctx, in)
		if err != nil {
			return 0, err
		}
		for _, sh := range out.Shards {
			if sh.SequenceNumberRange != nil && aws.ToString(sh.SequenceNumberRange.EndingSequenceNumber) == "" {
				open++
			}
		}
	}
	return open, nil
}
