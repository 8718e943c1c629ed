package scheduler

import (
	"context"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// callDecode names calls of the Decoder in the progress of a shard.
const callDecode = "decode"

// decode returns the records with decoded data and schemas. A Splitter replaces a record by its
// parts. A record that cannot be decoded stays unchanged, and does not affect the other records.
// decode does not change the slice.
func (d *delivery) decode(ctx context.Context, records []kcl.Record) []kcl.Record {
	if d.cfg.decoder == nil || len(records) == 0 {
		return records
	}
	d.progress.callBegan(callDecode)
	defer d.progress.callEnded(nil)
	splitter, _ := d.cfg.decoder.(kcl.Splitter)
	batch := decoding{decoder: d.cfg.decoder, splitter: splitter, in: records, out: make([]kcl.Record, 0, len(records))}
	failed := 0
	for len(batch.in) > 0 && ctx.Err() == nil { // one call decodes all records, unless one of them fails
		err := usercode.Call(func() error { return batch.run(ctx) })
		if err == nil || ctx.Err() != nil {
			continue
		}
		failed++
		if count, due := d.undecoded.add(1); due {
			d.log.WarnContext(ctx, "record cannot be decoded, delivering it unchanged", "position", batch.in[0].Position(),
				"err", err, "count", count)
		}
		batch.keepFirst()
	}
	for len(batch.in) > 0 { // the context has ended, and no record is delivered
		batch.keepFirst()
	}
	d.metrics.DecodeFailed(failed)
	return batch.out
}

// decoding is the decoding of one batch.
type decoding struct {
	decoder  kcl.Decoder
	splitter kcl.Splitter // nil unless the decoder is a Splitter
	in, out  []kcl.Record // the records before and after decoding
}

// run decodes records until one fails. The failed record is then the first of in.
func (d *decoding) run(ctx context.Context) error {
	for len(d.in) > 0 && ctx.Err() == nil {
		if err := d.decodeFirst(ctx); err != nil {
			return err
		}
	}
	return nil
}

// decodeFirst decodes the first record of in.
func (d *decoding) decodeFirst(ctx context.Context) error {
	r := d.in[0]
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
		return fmt.Errorf("the Splitter returned %d parts of one record, more than %d", len(parts), kcl.MaxSplit)
	case len(parts) == 0:
		d.keepFirst()
		return nil
	}
	for i, part := range parts {
		d.out = append(d.out, r.WithPart(i, part))
	}
	d.in = d.in[1:]
	return nil
}

// keepFirst moves the first record of in to out without decoding. With a Splitter the record gets
// the number of a single part, so that the positions of records stay in order.
func (d *decoding) keepFirst() {
	r := d.in[0]
	if d.splitter != nil {
		r = r.WithPart(0, kcl.Decoded{Data: r.Data(), Schema: r.Schema()})
	}
	d.in, d.out = d.in[1:], append(d.out, r)
}
