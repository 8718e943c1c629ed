package streaminfo

import (
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
)

// awsDigits is how many digits a sequence number of Kinesis has.
const awsDigits = 56

// CheckRange returns an error if the position cannot be one of the shard.
func CheckRange(shard kcl.Shard, position kcl.ExtendedSequenceNumber) error {
	number := kcl.ExtendedSequenceNumber{SequenceNumber: position.SequenceNumber}
	first := kcl.ExtendedSequenceNumber{SequenceNumber: shard.StartingSequenceNumber}
	last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	switch {
	case first.Validate() == nil && number.Compare(first) < 0:
		return fmt.Errorf("%s is before the first sequence number of shard %s, %s", position, shard.ID, first)
	case shard.Closed() && last.Validate() == nil && number.Compare(last) > 0:
		return fmt.Errorf("%s is behind the last sequence number of shard %s, %s", position, shard.ID, last)
	case len(shard.StartingSequenceNumber) == awsDigits && len(position.SequenceNumber) != awsDigits:
		return fmt.Errorf("%s cannot be a sequence number of shard %s: the first one is %s", position, shard.ID, first)
	}
	return nil
}

// CheckDigits is the check without the range of the shard: it counts digits. The known number is a
// sequence number of the shard. Where known is empty, the position must have the 56 digits of
// Kinesis.
func CheckDigits(shardID, known string, position kcl.ExtendedSequenceNumber) error {
	want := awsDigits
	if known != "" {
		want = len(known)
	}
	got := len(position.SequenceNumber)
	if got == want || want != awsDigits && (got == want-1 || got == want+1) {
		return nil
	}
	return fmt.Errorf("%s cannot be a sequence number of shard %s: it has %s, and the shard's numbers have %d",
		position, shardID, view.Plural(got, "digit"), want)
}
