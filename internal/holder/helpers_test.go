package holder_test

import (
	"errors"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/fleettest"
)

// first is the first shard of a fleet.
const first = "shardId-000000000000"

var (
	shardEnd = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
	errStore = errors.New("the store is not well")
)

// number is the sequence number of a record of a fleet.
var number = fleettest.Number
