// Package usercode calls functions of the library's users. Such a function may panic or call
// runtime.Goexit. Neither may end the process or a goroutine of the library. scheduler and
// processors use it.
package usercode

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrGoexit is the Value of a [Panic] for a function that ended its goroutine.
var ErrGoexit = errors.New("runtime.Goexit was called, as t.FailNow and the functions of testify's require do")

// Panic is a panic of a user's function, or a runtime.Goexit in it.
type Panic struct {
	// Value is the argument of panic, or ErrGoexit.
	Value any
	// Stack is the stack of the goroutine that panicked.
	Stack []byte
}

// Error returns the text of the value, without the stack.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap returns the value, if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Call runs f and waits for it. It returns the error of f, or a *[Panic]. f runs on another
// goroutine, because a runtime.Goexit always ends the goroutine that calls it.
func Call(f func() error) error {
	done := make(chan error, 1)
	go func() { // ends with f, which Call waits for
		var err error
		returned := false
		defer func() {
			if !returned {
				err = newPanic(recover())
			}
			done <- err
		}()
		err = f()
		returned = true
	}()
	return <-done
}

// Contain runs f on the caller's goroutine and turns a panic into an error. It is for code that
// runs too often for [Call]. It does not contain a runtime.Goexit.
func Contain(f func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = newPanic(v)
		}
	}()
	f()
	returned = true
	return nil
}

// newPanic returns the error for the result of recover. A nil result means runtime.Goexit, because
// panic(nil) leads to a *runtime.PanicNilError.
func newPanic(v any) error {
	if v == nil {
		v = ErrGoexit
	}
	return &Panic{Value: v, Stack: debug.Stack()}
}
