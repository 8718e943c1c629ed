package kinesistest

import (
	"regexp"
	"strings"
)

// Quirks are differences between AWS and other test servers. A program that works with each of them
// works with those servers. They are for clients that speak JSON. Default: as AWS.
type Quirks struct {
	// PadSequenceNumbers writes eight zeros before every sequence number, and knows no number without
	// them.
	PadSequenceNumbers bool

	// PlainConsumerARNs leaves the colon and the creation time out of the ARNs of consumers.
	PlainConsumerARNs bool

	// NeedStreamName refuses a StreamARN without StreamName, if the operation has both:
	// InvalidArgumentException.
	NeedStreamName bool
}

const padding = "00000000"

var (
	paddable    = regexp.MustCompile(`("[A-Za-z]*SequenceNumber":\s*")(\d+)"`)
	datedARNs   = regexp.MustCompile(`(:stream/[a-zA-Z0-9_.-]+/consumer/[a-zA-Z0-9_.-]+):\d+"`)
	consumerEnd = regexp.MustCompile(`:stream/([a-zA-Z0-9_.-]+)/consumer/([a-zA-Z0-9_.-]+)"`)
)

// quirkyCodec rewrites bodies on their way in and out, so that the rest of the server needs no
// quirks.
type quirkyCodec struct {
	codec
	b *backend
}

// quirky wraps a codec if the server has quirks.
func (b *backend) quirky(c codec) codec {
	if _, ok := c.(jsonCodec); !ok || b.cfg.Quirks == (Quirks{}) {
		return c
	}
	return quirkyCodec{codec: c, b: b}
}

func (c quirkyCodec) decode(body []byte, into any) error {
	text := string(body)
	if c.b.cfg.Quirks.PadSequenceNumbers {
		text = paddable.ReplaceAllStringFunc(text, func(member string) string {
			m := paddable.FindStringSubmatch(member)
			number, padded := strings.CutPrefix(m[2], padding)
			if !padded {
				number = "0" // a number that was never issued
			}
			return m[1] + number + `"`
		})
	}
	if c.b.cfg.Quirks.PlainConsumerARNs {
		text = consumerEnd.ReplaceAllStringFunc(text, func(end string) string {
			m := consumerEnd.FindStringSubmatch(end)
			c.b.mu.Lock()
			defer c.b.mu.Unlock()
			if st := c.b.streams[m[1]]; st != nil && st.consumers[m[2]] != nil {
				_, path, _ := strings.Cut(st.consumers[m[2]].arn, ":stream/")
				return ":stream/" + path + `"`
			}
			return ":stream/" + m[1] + "/consumer/" + m[2] + `:0"`
		})
	}
	return c.codec.decode([]byte(text), into)
}

func (c quirkyCodec) encode(v any) ([]byte, error) {
	body, err := c.codec.encode(v)
	if err != nil {
		return nil, err
	}
	if c.b.cfg.Quirks.PadSequenceNumbers {
		body = paddable.ReplaceAll(body, []byte("${1}"+padding+`${2}"`))
	}
	if c.b.cfg.Quirks.PlainConsumerARNs {
		body = datedARNs.ReplaceAll(body, []byte(`${1}"`))
	}
	return body, nil
}

// nameless tells whether a request names its stream only by the ARN.
func (r streamRef) nameless() bool { return r.StreamARN != "" && r.StreamName == "" }

// checkName refuses requests without a stream name if the server has the quirk NeedStreamName.
func (b *backend) checkName(in input) error {
	if in, ok := in.(interface{ nameless() bool }); ok && b.cfg.Quirks.NeedStreamName && in.nameless() {
		return invalid("StreamName is required.")
	}
	return nil
}
