// Package protocol reads and writes the messages of the MultiLangDaemon (its classes
// MultiLangProtocol, MessageReader and MessageWriter). Each message is a JSON object on a line of
// its own. The daemon writes to the standard input of its child, and the child to its standard
// output. Package multilang is both ends.
//
// The daemon sends an action. Then it reads until the child sends a status for that action.
// Meanwhile the child may ask for checkpoints, and waits for the answer to each.
package protocol

import (
	"github.com/kinesis-go/kcl"
)

// Action says what a message is for.
type Action string

// The actions. Only daemons of KCL 1.x send Shutdown. Later ones send LeaseLost or ShardEnded.
const (
	Initialize        Action = "initialize"
	ProcessRecords    Action = "processRecords"
	LeaseLost         Action = "leaseLost"
	ShardEnded        Action = "shardEnded"
	ShutdownRequested Action = "shutdownRequested"
	Shutdown          Action = "shutdown"
	Checkpoint        Action = "checkpoint"
	Status            Action = "status"
)

// The reasons of Shutdown.
const (
	ReasonLeaseLost  = "ZOMBIE"
	ReasonShardEnded = "TERMINATE"
	ReasonRequested  = "REQUESTED"
)

// Asked is the position in a checkpoint message, as the child wrote it. The answer repeats it.
type Asked struct {
	// SequenceNumber is nil in a checkpoint of everything that was delivered.
	SequenceNumber *string
	// SubSequenceNumber is nil if the child gave none.
	SubSequenceNumber *int64
}

// Position returns what the daemon shall checkpoint. all means everything that was delivered. A
// number without a sub-sequence number means sub-sequence number 0, and a sub-sequence number
// without a number means nothing, as in the Java daemon. The position is not validated.
func (a Asked) Position() (position kcl.ExtendedSequenceNumber, all bool) {
	if a.SequenceNumber == nil {
		return kcl.ExtendedSequenceNumber{}, true
	}
	position.SequenceNumber = *a.SequenceNumber
	if a.SubSequenceNumber != nil {
		position.SubSequenceNumber = *a.SubSequenceNumber
	}
	return position, false
}
