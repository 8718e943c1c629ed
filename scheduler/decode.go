package scheduler

import (
	"context"
	"slices"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
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
	failed, next := 0, 0
	fails := func(err error) {
		failed++
		if count, tell := c.undecoded.add(1); tell {
			c.log.WarnContext(ctx, "record cannot be decoded, it is delivered as it is", "position", records[next].Position(), "err", err, "count", count)
		}
	}
	decodeRest := func() error { // one call for all records, as long as none of them panics
		for ; next < len(records) && ctx.Err() == nil; next++ {
			data, schema, err := decoder.Decode(ctx, records[next])
			switch {
			case err == nil && schema != nil:
				out[next] = records[next].WithDecoded(data, schema)
			case err != nil && ctx.Err() == nil:
				fails(err)
			}
		}
		return nil
	}
	for next < len(records) && ctx.Err() == nil { // else nothing of it is delivered
		if err := usercode.Call(decodeRest); err != nil {
			fails(err)
			next++
		}
	}
	c.metrics.DecodeFailed(failed)
	return out
}
