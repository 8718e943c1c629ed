package kcl

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// HashKeyRange is the part of the 128-bit hash key space that a shard covers,
// both ends included, as decimal numbers.
type HashKeyRange struct {
	// Start is the lowest hash key of the range, from 0.
	Start string
	// End is the highest one, up to 2^128-1.
	End string
}

// IsZero tells whether the range is unknown.
func (r HashKeyRange) IsZero() bool { return r == HashKeyRange{} }

// maxHashKey is 2^128 - 1, the largest hash key.
var maxHashKey = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

// Validate reports a start or end that is no decimal number between 0 and 2^128-1, and a start
// after the end.
func (r HashKeyRange) Validate() error {
	start, ok1 := new(big.Int).SetString(r.Start, 10)
	end, ok2 := new(big.Int).SetString(r.End, 10)
	if !ok1 || !ok2 || start.Sign() < 0 || end.Cmp(maxHashKey) > 0 || start.Cmp(end) > 0 {
		return fmt.Errorf("kcl: hash key range %q..%q is not two decimal numbers in order between 0 and 2^128-1",
			r.Start, r.End)
	}
	return nil
}

// Shard describes a shard as the service does (ShardInfo in the KCL, Shard in the SDK).
type Shard struct {
	// ID such as shardId-000000000000.
	ID string
	// ParentID is the shard that was split, or one of the two that were merged. It is empty for a
	// shard that was made with the stream.
	ParentID string
	// AdjacentParentID is the other parent after a merge.
	AdjacentParentID string
	// HashKeyRange is the range of keys that the shard takes.
	HashKeyRange HashKeyRange
	// StartingSequenceNumber is the lowest sequence number that the shard can have.
	StartingSequenceNumber string
	// EndingSequenceNumber is set once the shard is closed.
	EndingSequenceNumber string
}

// Parents returns the ids of the shard's parents: none, one or two.
func (s Shard) Parents() []string {
	var parents []string
	if s.ParentID != "" {
		parents = append(parents, s.ParentID)
	}
	if s.AdjacentParentID != "" {
		parents = append(parents, s.AdjacentParentID)
	}
	return parents
}

// Closed tells whether the shard takes no more records.
func (s Shard) Closed() bool { return s.EndingSequenceNumber != "" }

// ChildShard is a shard as its parent's end names it.
type ChildShard struct {
	// ID such as shardId-000000000000.
	ID string
	// Parents are the ids of its parents: one after a split, two after a merge.
	Parents []string
	// HashKeyRange is the range of keys that the shard takes.
	HashKeyRange HashKeyRange
}

// StreamIdentifier names a stream. In an application with several streams its
// String form is the first part of every lease key, as in the KCL.
type StreamIdentifier struct {
	// AccountID is the twelve digits of the AWS account. It may be empty in an application with one
	// stream.
	AccountID string
	// Name of the stream.
	Name string
	// CreationEpoch is when the stream was created, in seconds since 1970. It is 0 if that is not
	// known.
	CreationEpoch int64
	// ARN of the stream, when it is known. It is not part of the String form.
	ARN string
}

var (
	streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	// arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME[/consumer/NAME[:EPOCH]]
	streamARN   = regexp.MustCompile(`^arn:aws[a-z-]*:kinesis:([a-z0-9-]+):([0-9]{12}):stream/([a-zA-Z0-9_.-]{1,128})$`)
	consumerARN = regexp.MustCompile(`^(arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128})` +
		`/consumer/([a-zA-Z0-9_.-]{1,128})(?::[a-zA-Z0-9_.-]*)?$`)
)

// ErrInvalidStream is wrapped by the errors about names and ARNs of streams.
var ErrInvalidStream = errors.New("kcl: invalid stream")

// ParseStreamIdentifier reads account:name:epoch, the form of streams in the KCL's lease keys. For
// anything else the error wraps [ErrInvalidStream].
func ParseStreamIdentifier(s string) (StreamIdentifier, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 && accountID.MatchString(parts[0]) && streamName.MatchString(parts[1]) {
		epoch, err := strconv.ParseInt(parts[2], 10, 64)
		if err == nil && epoch > 0 {
			return StreamIdentifier{AccountID: parts[0], Name: parts[1], CreationEpoch: epoch}, nil
		}
	}
	return StreamIdentifier{}, fmt.Errorf(
		"%w: identifier %q; want account:name:epoch, such as 123456789012:orders:1700000000", ErrInvalidStream, s)
}

// ParseStreamARN takes account and name from a stream's ARN. The error wraps [ErrInvalidStream] and
// says what an ARN looks like.
func ParseStreamARN(arn string) (StreamIdentifier, error) {
	m := streamARN.FindStringSubmatch(arn)
	if m == nil {
		return StreamIdentifier{}, fmt.Errorf("%w: ARN %q; want arn:aws:kinesis:REGION:ACCOUNT:stream/NAME",
			ErrInvalidStream, arn)
	}
	return StreamIdentifier{AccountID: m[2], Name: m[3], ARN: arn}, nil
}

// ParseConsumerARN splits the ARN of a stream consumer into the stream's ARN and the consumer's
// name. AWS adds the creation time to the name; some servers for tests do not. ParseConsumerARN
// ignores it. The error wraps [ErrInvalidStream].
func ParseConsumerARN(arn string) (stream, consumer string, err error) {
	m := consumerARN.FindStringSubmatch(arn)
	if m == nil {
		return "", "", fmt.Errorf(
			"%w: consumer ARN %q; want arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/CONSUMER:EPOCH",
			ErrInvalidStream,
			arn,
		)
	}
	return m[1], m[2], nil
}

// ValidStreamName tells whether Kinesis accepts name for a stream or for a consumer: 1 to 128
// letters, digits, underscores, dots and hyphens.
func ValidStreamName(name string) bool { return streamName.MatchString(name) }

// String returns account:name:epoch, the form of the KCL's multi-stream lease keys. It returns the
// name alone if one of the other two is not known.
func (s StreamIdentifier) String() string {
	if s.AccountID == "" || s.CreationEpoch == 0 {
		return s.Name
	}
	return s.AccountID + ":" + s.Name + ":" + strconv.FormatInt(s.CreationEpoch, 10)
}

// LogValue implements [slog.LogValuer] with [StreamIdentifier.String].
func (s StreamIdentifier) LogValue() slog.Value { return slog.StringValue(s.String()) }
