package scheduler

import (
	"context"
	"slices"

	"github.com/kinesis-go/kcl"
)

// callDecode is the Decoder's name among the calls of the user's code.
const callDecode = "decode"

// decode gives the records that can be decoded their data and schema. Those
// that cannot stay as they are: one record must not cost its neighbours. It
// leaves the slice alone.
func (c *consumer) decode(ctx context.Context, records []kcl.Record) []kcl.Record {
	decoder := c.s.cfg.Decoder
	if decoder == nil || len(records) == 0 {
		return records
	}
	out := slices.Clone(records)
	c.progress.calling(callDecode)
	defer c.progress.called(nil)
	failed := 0
	for i, r := range records {
		if ctx.Err() != nil {
			break // nothing of it is delivered
		}
		err := contain(func() error {
			data, schema, err := decoder.Decode(ctx, r)
			if err == nil && schema != nil {
				out[i] = r.WithDecoded(data, schema)
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			failed++
			if count, tell := c.undecoded.add(1); tell {
				c.log.WarnContext(ctx, "record cannot be decoded, it is delivered as it is", "position", r.Position(), "err", err, "count", count)
			}
		}
	}
	c.metrics.DecodeFailed(failed)
	return out
}
