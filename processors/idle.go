package processors

import (
	"context"
	"errors"

	"github.com/kinesis-go/kcl"
)

// The decorators are asked between two calls whether they still work. A processor inside that has
// asked to be replaced is not called again, so on an idle shard nobody else would tell.
var (
	_ kcl.IdleChecker = (*batching)(nil)
	_ kcl.IdleChecker = (*concurrent)(nil)
	_ kcl.IdleChecker = (*retrying)(nil)
)

// CheckIdle returns the error of a batch whose processor asks to be replaced. Otherwise it asks the
// processor inside. It does not wait for a processor that is at work.
func (b *batching) CheckIdle(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
	default:
		return nil
	}
	defer b.unlock()
	if errors.Is(b.failed, kcl.ErrRestart) {
		return b.failed
	}
	return checkIdle(ctx, b.inner)
}

// CheckIdle returns the error of a lane whose processor asks to be replaced. It does not ask the
// processors of the lanes.
func (c *concurrent) CheckIdle(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		if errors.Is(l.failed, kcl.ErrRestart) {
			return l.failed
		}
	}
	return nil
}

// CheckIdle asks the processor inside.
func (p *retrying) CheckIdle(ctx context.Context) error { return checkIdle(ctx, p.inner) }

// checkIdle asks a processor that can fail between two calls.
func checkIdle(ctx context.Context, p kcl.Processor) error {
	if p, ok := p.(kcl.IdleChecker); ok {
		return contain(func() error { return p.CheckIdle(ctx) })
	}
	return nil
}
