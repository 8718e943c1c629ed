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
func (d *delivery) decode(ctx context.Context, records []kcl.Record) []kcl.Record {
	if d.cfg.decoder == nil || len(records) == 0 {
		return records
	}
	d.progress.callBegan(callDecode)
	defer d.progress.callEnded(nil)
	splitter, _ := d.cfg.decoder.(kcl.Splitter)
	left := decoding{decoder: d.cfg.decoder, splitter: splitter, in: records, out: make([]kcl.Record, 0, len(records))}
	failed := 0
	for len(left.in) > 0 && ctx.Err() == nil { // one call for all records, as long as none of them fails
		err := usercode.Call(func() error { return left.run(ctx) })
		if err == nil || ctx.Err() != nil {
			continue
		}
		failed++
		if count, due := d.undecoded.add(1); due {
			d.log.WarnContext(ctx, "record cannot be decoded, it is delivered as it is", "position", left.in[0].Position(),
				"err", err, "count", count)
		}
		left.keep()
	}
	for len(left.in) > 0 { // the context has ended: nothing of it is delivered
		left.keep()
	}
	d.metrics.DecodeFailed(failed)
	return left.out
}

// decoding is the decoding of one batch.
type decoding struct {
	decoder  kcl.Decoder
	splitter kcl.Splitter // nil unless the decoder is one
	in, out  []kcl.Record // what is left, and what was made of the others
}

// run decodes up to the first record that fails, which stays the first of in.
func (d *decoding) run(ctx context.Context) error {
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
