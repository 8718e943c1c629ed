package processors

import (
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// HeldError is the error of [Batch] and [Concurrent]. The processor inside has failed with records
// that they hold, perhaps since an earlier call. They keep the records and try them again: at the
// next call, or after a backoff if no call comes. They accept no new record before that succeeds.
// After a failure they hand on half as many records, so that Records shrinks to the record that
// fails.
type HeldError struct {
	// Records are the records that failed, in order. There is at least one.
	Records []kcl.Record
	// Err is the error of the processor inside.
	Err error

	drop func()
}

// Error names the records and the cause.
func (e *HeldError) Error() string {
	first := e.Records[0].Position()
	if n := len(e.Records); n > 1 {
		return fmt.Sprintf("processors: %d held records from %s to %s failed: %v", n, first, e.Records[n-1].Position(), e.Err)
	}
	return fmt.Sprintf("processors: held record %s failed: %v", first, e.Err)
}

// Unwrap returns Err.
func (e *HeldError) Unwrap() error { return e.Err }

// Drop says that the caller has stored the records elsewhere, such as in a dead-letter queue. They
// count as processed, unless Batch or Concurrent has meanwhile handed on fewer of them. The next
// call goes on after them. [Retry] uses Drop. It is safe for concurrent use.
func (e *HeldError) Drop() { e.drop() }

// PanicError is a contained panic of a processor or of a handler, or a runtime.Goexit in it.
type PanicError struct {
	// Value is the argument of panic, or an error that names Goexit.
	Value any
	// Stack is the stack of the goroutine that panicked.
	Stack []byte
}

// Error gives the value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// contain turns a panic or a runtime.Goexit of the user's code into an error. f runs on a goroutine
// of its own, and contain waits for it.
func contain(f func() error) error {
	err := usercode.Call(f)
	if p, ok := err.(*usercode.Panic); ok { //nolint:errorlint // its own one, and none that f returns wrapped
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return err
}
