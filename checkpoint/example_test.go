package checkpoint_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
)

// printing is a Writer that prints. In an application the lease's holder writes to the lease table.
type printing struct{}

func (printing) Checkpoint(_ context.Context, pos kcl.ExtendedSequenceNumber) error {
	fmt.Println("checkpoint", pos)
	return nil
}

func (printing) Prepare(_ context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error {
	fmt.Printf("pending checkpoint %s with %q\n", pos, state)
	return nil
}

func position(number string) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: number}
}

// Only the positions of delivered records are accepted.
func Example() {
	ctx := context.Background()
	c := checkpoint.New(printing{}, position(kcl.SentinelTrimHorizon), nil)
	c.Delivered(position("100")) // the scheduler hands a batch to the processor
	fmt.Println(c.Checkpoint(ctx))
	err := c.CheckpointAt(ctx, position("200"))
	fmt.Println(errors.Is(err, kcl.ErrInvalidCheckpoint), c.Report().Last)
	// Output:
	// checkpoint 100
	// <nil>
	// true 100
}

// A prepared checkpoint survives a crash: the next owner of the lease gets its position and state.
func ExampleCheckpointer_Prepare() {
	ctx := context.Background()
	c := checkpoint.New(printing{}, position("100"), nil)
	c.Delivered(position("300"))
	p, err := c.Prepare(ctx, position("200"), []byte("file 7"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("commit:", p.Commit(ctx)) // when the file is written
	// Output:
	// pending checkpoint 200 with "file 7"
	// checkpoint 200
	// commit: <nil>
}
