package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// maxRedos is how often a change is decided anew because its row was written meanwhile.
const maxRedos = 10

// apply makes a change, and returns it as it was made. It decides the change anew when the row was
// written since it was read.
func (w *writer) apply(ctx context.Context, store leases.Store, c change) (change, error) {
	for i := 0; ; i++ {
		err := w.write(ctx, store, c)
		conflict, ok := errors.AsType[*leases.ConflictError](err)
		switch {
		case !ok:
			return c, err
		case c.create:
			return c, errors.New("not made: the lease has a row by now")
		case conflict.Current == nil || c.redo == nil || i == maxRedos:
			return c, refusal(c, conflict)
		}
		next, ok := c.redo(*conflict.Current)
		if !ok {
			return c, refusal(c, conflict)
		}
		next.family = c.family
		c = next
	}
}

// write sends a change once. If the answer is lost, write reads the row to learn whether the change
// was made.
func (w *writer) write(ctx context.Context, store leases.Store, c change) error {
	if ctx.Err() != nil {
		return fmt.Errorf("not changed: %w", context.Cause(ctx))
	}
	var err error
	switch {
	case c.create:
		err = store.Create(ctx, c.to)
	case c.remove:
		err = store.Delete(ctx, c.read, c.expects())
	default:
		err = store.Update(ctx, leases.Update{Read: c.read, Expect: c.expects(), To: c.to, Set: c.set})
	}
	conflict, refused := errors.AsType[*leases.ConflictError](err)
	switch {
	case refused && !c.remove && conflict.Current != nil && conflict.Current.Same(c.written(), c.after()):
		return nil // the client of the store sent the write twice
	case err == nil || refused && (conflict.Current != nil || !c.remove):
		return err
	}
	current, readErr := store.Get(ctx, c.read.Key)
	switch {
	case c.remove && errors.Is(readErr, leases.ErrNotFound):
		return nil // also when the client of the store sent the deletion twice
	case refused:
		return err
	case c.create && errors.Is(readErr, leases.ErrNotFound):
		return fmt.Errorf("not made: %w", w.src.explain(err))
	case !c.remove && readErr == nil && current.Same(c.written(), c.after()):
		return nil
	case readErr == nil && !c.unread && current.Same(c.expects(), c.read):
		return fmt.Errorf("not changed: %w", w.src.explain(err))
	}
	return fmt.Errorf("the change may have been made, see `kclctl leases show`: %w", w.src.explain(err))
}

// refusal is the error of a change whose row is not as it was shown.
func refusal(c change, conflict *leases.ConflictError) error {
	now := conflict.Current
	switch {
	case now == nil:
		return errors.New("not changed: the lease does not exist any more")
	case c.remove && now.Counter != c.read.Counter && now.Same(leases.AttrOwner|leases.AttrCheckpointOwner, c.read):
		return fmt.Errorf("not changed, because the lease is no longer as shown: %w", errRenewed)
	}
	return fmt.Errorf("not changed, because the lease is no longer as shown: "+
		"now %s, owner %s, checkpoint %s, counter %d: look again",
		view.State(*now), view.Owner(*now), now.Checkpoint, now.Counter)
}
