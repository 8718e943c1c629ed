package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errNotConfirmed is the error of a question whose answer is not yes.
var errNotConfirmed = errors.New("not confirmed, nothing was changed; answer yes, or give -yes")

// Confirm asks a question on standard error, and reads the answer from standard input. It returns
// nil for yes or y, and an error for any other answer or when ctx ends.
func (t *Terminal) Confirm(ctx context.Context, question string) error {
	_ = t.out.Flush()
	_, _ = fmt.Fprintf(t.err, "%s Type yes to go on: ", oneLine(question))
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with a line, or with the process: reading a terminal cannot be cancelled
		s, err := t.in.ReadString('\n')
		got <- answer{s, err}
	}()
	select {
	case a := <-got:
		if text := strings.ToLower(strings.TrimSpace(a.text)); text == "yes" || text == "y" {
			return nil
		}
		_, _ = fmt.Fprintln(t.err)
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return fmt.Errorf("%w: %w", errNotConfirmed, a.err)
		}
		return errNotConfirmed
	case <-ctx.Done():
		_, _ = fmt.Fprintln(t.err)
		return errNotConfirmed
	}
}
