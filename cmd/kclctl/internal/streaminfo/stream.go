// Package streaminfo asks Kinesis about a stream: its shards, and which sequence numbers they can
// have.
package streaminfo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/fromsdk"
)

// Limits of the time that Kinesis has for its answers.
const (
	describeTimeout = 30 * time.Second
	listTimeout     = 5 * time.Minute
)

// Stream is what Kinesis says about a stream. The zero value knows nothing.
type Stream struct {
	ID      kcl.StreamIdentifier
	Created time.Time
	// Shards is nil where Kinesis was not asked for the shards.
	Shards map[string]kcl.Shard
}

// Describe asks for the name, the ARN and the creation time of a stream, not for its shards. The
// stream is named by its name or ARN.
func Describe(ctx context.Context, client *kinesis.Client, nameOrARN string) (Stream, error) {
	in := &kinesis.DescribeStreamSummaryInput{StreamName: &nameOrARN}
	if id, err := kcl.ParseStreamARN(nameOrARN); err == nil {
		in.StreamName, in.StreamARN = &id.Name, &nameOrARN // some servers for tests know only names
	}
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	out, err := client.DescribeStreamSummary(ctx, in)
	if err != nil {
		return Stream{}, fmt.Errorf("ask Kinesis about stream %s: %w", nameOrARN, err)
	}
	d := out.StreamDescriptionSummary
	if d == nil || aws.ToTime(d.StreamCreationTimestamp).IsZero() {
		return Stream{}, errors.New("kinesis does not say when the stream was created: give -created TIME")
	}
	id, err := kcl.ParseStreamARN(aws.ToString(d.StreamARN))
	if err != nil {
		return Stream{}, fmt.Errorf("stream %s: %w", nameOrARN, err)
	}
	id.CreationEpoch = d.StreamCreationTimestamp.Unix()
	return Stream{ID: id, Created: *d.StreamCreationTimestamp}, nil
}

// List describes a stream and lists its shards.
func List(ctx context.Context, client *kinesis.Client, nameOrARN string) (Stream, error) {
	s, err := Describe(ctx, client, nameOrARN)
	if err != nil {
		return Stream{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	s.Shards = map[string]kcl.Shard{}
	in := &kinesis.ListShardsInput{StreamName: &s.ID.Name, StreamARN: &s.ID.ARN}
	for {
		out, err := client.ListShards(ctx, in)
		if err != nil {
			return Stream{}, fmt.Errorf("list the shards of stream %s: %w", nameOrARN, err)
		}
		for _, shard := range out.Shards {
			s.Shards[aws.ToString(shard.ShardId)] = fromsdk.Shard(shard)
		}
		if out.NextToken == nil {
			return s, nil
		}
		if in.NextToken != nil && *in.NextToken == *out.NextToken {
			return Stream{}, fmt.Errorf("list the shards of stream %s: Kinesis sends the same page again", nameOrARN)
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// MissingAncestors returns the ancestors of the shards in has that are not in has themselves. The
// parents are those that Kinesis lists, and without its list those in parents.
func (s Stream) MissingAncestors(has map[string]bool, parents map[string][]string) []string {
	if s.Shards != nil {
		parents = map[string][]string{}
		for id, shard := range s.Shards {
			parents[id] = shard.Parents()
		}
	}
	var missing []string
	seen := maps.Clone(has)
	var climb func(id string)
	climb = func(id string) {
		for _, p := range parents[id] {
			if _, listed := s.Shards[p]; seen[p] || (s.Shards != nil && !listed) {
				continue
			}
			seen[p] = true
			missing = append(missing, p)
			climb(p)
		}
	}
	for id := range has {
		climb(id)
	}
	slices.Sort(missing)
	return missing
}
