package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
)

// callDecode is the Decoder's name among the calls of the user's code.
const callDecode = "decode"

const undecodedEvery = 10 * time.Minute // how often undecoded records of a shard are told

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
			c.undecoded(ctx, r, err)
		}
	}
	c.metrics.DecodeFailed(failed)
	return out
}

// undecoded tells of a record that could not be decoded, if none was told lately.
func (c *consumer) undecoded(ctx context.Context, r kcl.Record, err error) {
	c.undecodedCount++
	if time.Since(c.undecodedTold) < undecodedEvery {
		return
	}
	c.log.WarnContext(ctx, "record cannot be decoded, it is delivered as it is", "position", r.Position(), "err", err, "count", c.undecodedCount)
	c.undecodedCount, c.undecodedTold = 0, time.Now()
}
