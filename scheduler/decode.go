package scheduler

import (
	"context"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// callDecode is the Decoder's name among the calls of the user's code.
const callDecode = "decode"

// decode gives the records that can be decoded their data and schema, and makes
// several of those that hold several. Those that cannot be decoded stay as they
// are: one record must not cost its neighbours. It leaves the slice alone.
func (c *consumer) decode(ctx context.Context, records []kcl.Record) []kcl.Record {
	if c.s.cfg.Decoder == nil || len(records) == 0 {
		return records
	}
	c.progress.calling(callDecode)
	defer c.progress.called(nil)
	splitter, _ := c.s.cfg.Decoder.(kcl.Splitter)
	d := decoding{decoder: c.s.cfg.Decoder, splitter: splitter, in: records, out: make([]kcl.Record, 0, len(records))}
	failed := 0
	for len(d.in) > 0 && ctx.Err() == nil { // one call for all records, as long as none of them fails
		err := usercode.Call(func() error { return d.rest(ctx) })
		if err == nil || ctx.Err() != nil {
			continue
		}
		failed++
		if count, tell := c.undecoded.add(1); tell {
			c.log.WarnContext(ctx, "record cannot be decoded, it is delivered as it is", "position", d.in[0].Position(), "err", err, "count", count)
		}
		d.keep()
	}
	for len(d.in) > 0 { // the context has ended: nothing of it is delivered
		d.keep()
	}
	c.metrics.DecodeFailed(failed)
	return d.out
}

// decoding is the decoding of one batch.
type decoding struct {
	decoder  kcl.Decoder
	splitter kcl.Splitter // nil unless the decoder is one
	in, out  []kcl.Record // what is left, and what was made of the others
}

// rest decodes up to the first record that fails, which stays the first of in.
func (d *decoding) rest(ctx context.Context) error {
	for len(d.in) > 0 && ctx.Err() == nil {
		if err := d.one(ctx, d.in[0]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoding) one(ctx context.Context, r kcl.Record) error {
	if d.splitter == nil {
		data, schema, err := d.decoder.Decode(ctx, r)
		if err != nil {
			return err
		}
		if data != nil || schema != nil {
			r = r.WithDecoded(data, schema)
		}
		d.in, d.out = d.in[1:], append(d.out, r)
		return nil
	}
	parts, err := d.splitter.Split(ctx, r)
	switch {
	case err != nil:
		return err
	case len(parts) > kcl.MaxSplit:
		return fmt.Errorf("the Splitter made %d records of one, at most %d are possible", len(parts), kcl.MaxSplit)
	case len(parts) == 0:
		d.keep()
		return nil
	}
	for i, part := range parts {
		d.out = append(d.out, r.WithPart(i, part))
	}
	d.in = d.in[1:]
	return nil
}

// keep leaves the next record as it is. Where records are split it is the first
// and only part of itself, so that the order of numbers holds.
func (d *decoding) keep() {
	r := d.in[0]
	if d.splitter != nil {
		r = r.WithPart(0, kcl.Decoded{Data: r.Data(), Schema: r.Schema()})
	}
	d.in, d.out = d.in[1:], append(d.out, r)
}
