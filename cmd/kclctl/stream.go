package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// described is a stream as Kinesis knows it.
type described struct {
	id      kcl.StreamIdentifier
	created time.Time
}

// streamInput names a stream for the service, by name or ARN.
func streamInput(nameOrARN string) (name, arn *string, err error) {
	if id, err := kcl.ParseStreamARN(nameOrARN); err == nil {
		return &id.Name, &nameOrARN, nil // some servers for tests know only names
	}
	if !kcl.ValidStreamName(nameOrARN) {
		return nil, nil, usagef("-stream %q is neither the name of a stream nor its ARN", nameOrARN)
	}
	return &nameOrARN, nil, nil
}

// describe asks Kinesis about a stream.
func (s *source) describe(ctx context.Context, nameOrARN string) (described, error) {
	name, arn, err := streamInput(nameOrARN)
	if err != nil {
		return described{}, err
	}
	client, err := s.kinesis(ctx, nameOrARN)
	if err != nil {
		return described{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := client.DescribeStreamSummary(ctx, &sdk.DescribeStreamSummaryInput{StreamName: name, StreamARN: arn})
	if err != nil {
		return described{}, fmt.Errorf("ask Kinesis about stream %s: %w", nameOrARN, err)
	}
	d := out.StreamDescriptionSummary
	if d == nil || aws.ToTime(d.StreamCreationTimestamp).IsZero() {
		return described{}, errors.New("kinesis does not say when the stream was created: give -created TIME")
	}
	id, err := kcl.ParseStreamARN(aws.ToString(d.StreamARN))
	if err != nil {
		return described{}, fmt.Errorf("stream %s: %w", nameOrARN, err)
	}
	return described{id: id, created: *d.StreamCreationTimestamp}, nil
}

// knownStream is what Kinesis knows about a stream; the zero value is nothing.
type knownStream struct {
	id      kcl.StreamIdentifier
	created time.Time
	shards  map[string]kcl.Shard

	// name is as it was asked for; gone says that there is no such stream. For audit.
	name string
	gone bool
}

// streamOf is the stream that Kinesis is to be asked about for a row: what the command
// line says, else what the row says. Where it is empty, the second result says why.
func (s *source) streamOf(flagged string, l leases.Lease) (nameOrARN, why string) {
	if flagged != "" {
		return flagged, ""
	}
	if s.endpoint != "" && s.kinesisEndpoint == "" && os.Getenv("AWS_ENDPOINT_URL") == "" && os.Getenv("AWS_ENDPOINT_URL_KINESIS") == "" {
		return "", "-endpoint is given, and -kinesis-endpoint is not"
	}
	if l.StreamARN != "" {
		return l.StreamARN, ""
	}
	if id, err := kcl.ParseStreamIdentifier(l.Stream); l.Stream != "" && err == nil {
		return id.Name, ""
	}
	return "", "the leases do not say of which stream they are: give -stream"
}

// ask lists the shards of a stream; nothing is known of one without a name.
func (s *source) ask(ctx context.Context, nameOrARN string) (knownStream, error) {
	if nameOrARN == "" {
		return knownStream{}, nil
	}
	d, err := s.describe(ctx, nameOrARN)
	if err != nil {
		return knownStream{}, err
	}
	client, err := s.kinesis(ctx, d.id.ARN)
	if err != nil {
		return knownStream{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	known := knownStream{id: d.id, created: d.created, shards: map[string]kcl.Shard{}}
	known.id.CreationEpoch = d.created.Unix()
	in := &sdk.ListShardsInput{StreamName: &d.id.Name, StreamARN: &d.id.ARN}
	for {
		out, err := client.ListShards(ctx, in)
		if err != nil {
			return knownStream{}, fmt.Errorf("list the shards of stream %s: %w", nameOrARN, err)
		}
		for _, shard := range out.Shards {
			known.shards[aws.ToString(shard.ShardId)] = shardOf(shard)
		}
		if out.NextToken == nil {
			return known, nil
		}
		if in.NextToken != nil && *in.NextToken == *out.NextToken {
			return knownStream{}, fmt.Errorf("list the shards of stream %s: the service sends the same page again and again", nameOrARN)
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken}
	}
}

// without returns the ancestors of shards that have no row, of those that
// Kinesis lists when that is known. parents are what the rows say, and has are
// the shards with a row.
func (k knownStream) without(has map[string]bool, parents map[string][]string) []string {
	if k.shards != nil {
		parents = map[string][]string{}
		for id, s := range k.shards {
			parents[id] = s.Parents()
		}
	}
	var found []string
	seen := maps.Clone(has)
	var climb func(id string)
	climb = func(id string) {
		for _, p := range parents[id] {
			if _, listed := k.shards[p]; seen[p] || (k.shards != nil && !listed) {
				continue
			}
			seen[p] = true
			found = append(found, p)
			climb(p)
		}
	}
	for id := range has {
		climb(id)
	}
	slices.Sort(found)
	return found
}

func shardOf(s types.Shard) kcl.Shard {
	shard := kcl.Shard{ID: aws.ToString(s.ShardId), ParentID: aws.ToString(s.ParentShardId), AdjacentParentID: aws.ToString(s.AdjacentParentShardId)}
	if r := s.SequenceNumberRange; r != nil {
		shard.StartingSequenceNumber, shard.EndingSequenceNumber = aws.ToString(r.StartingSequenceNumber), aws.ToString(r.EndingSequenceNumber)
	}
	if r := s.HashKeyRange; r != nil {
		shard.HashKeyRange = kcl.HashKeyRange{Start: aws.ToString(r.StartingHashKey), End: aws.ToString(r.EndingHashKey)}
	}
	return shard
}
