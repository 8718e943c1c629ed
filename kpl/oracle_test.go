package kpl_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

// aggregatedRecord is the message of the Kinesis Producer Library for the general protobuf reader.
var aggregatedRecord = func() protoreflect.MessageDescriptor {
	type label = descriptorpb.FieldDescriptorProto_Label
	const (
		required = descriptorpb.FieldDescriptorProto_LABEL_REQUIRED
		optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	type kinds = descriptorpb.FieldDescriptorProto_Type
	field := func(n int32, l label, kind kinds, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: proto.String(fmt.Sprintf("f%d", n)), Number: &n, Label: &l, Type: &kind}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_BYTES // proto2 does not look into strings
		number  = descriptorpb.FieldDescriptorProto_TYPE_UINT64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("kpl.proto"), Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{
			{
				Name:  proto.String("Tag"),
				Field: []*descriptorpb.FieldDescriptorProto{field(1, required, text, ""), field(2, optional, text, "")},
			},
			{Name: proto.String("Record"), Field: []*descriptorpb.FieldDescriptorProto{
				field(1, required, number, ""),
				field(2, optional, number, ""),
				field(3, required, text, ""),
				field(4, repeated, message, ".Tag"),
			}},
			{Name: proto.String("AggregatedRecord"), Field: []*descriptorpb.FieldDescriptorProto{
				field(1, repeated, text, ""), field(2, repeated, text, ""), field(3, repeated, message, ".Record"),
			}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file.Messages().ByName("AggregatedRecord")
}()

// user records as the general reader sees them. ok is false if the reader refuses the message, or
// if an index has no entry in its table.
func general(m []byte) (out []string, ok bool) {
	msg := dynamicpb.NewMessage(aggregatedRecord)
	if proto.Unmarshal(m, msg) != nil {
		return nil, false
	}
	fields := aggregatedRecord.Fields()
	keys, hashes, records := msg.Get(fields.ByNumber(1)).
		List(),
		msg.Get(fields.ByNumber(2)).
			List(),
		msg.Get(fields.ByNumber(3)).
			List()
	for i := range records.Len() {
		r := records.Get(i).Message()
		of := r.Descriptor().Fields()
		key := r.Get(of.ByNumber(1)).Uint()
		if key >= uint64(keys.Len()) {
			return nil, false
		}
		hash := "-"
		if r.Has(of.ByNumber(2)) {
			n := r.Get(of.ByNumber(2)).Uint()
			if n >= uint64(hashes.Len()) {
				return nil, false
			}
			hash = fmt.Sprintf("%q", hashes.Get(int(n)).Bytes())
		}
		out = append(out, fmt.Sprintf("%q %s %q", keys.Get(int(key)).Bytes(), hash, r.Get(of.ByNumber(3)).Bytes()))
	}
	return out, true
}

// huge tells whether a field has a number that protobuf does not allow. The general reader for Go
// refuses such a message. The reader for Java accepts it, and our workers must agree with those in
// Java.
func huge(m []byte, deeper ...protowire.Number) bool {
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return false
		}
		if num > protowire.MaxValidNumber {
			return true
		}
		size := protowire.ConsumeFieldValue(num, typ, m[n:])
		if size < 0 {
			return false
		}
		if typ == protowire.BytesType && len(deeper) > 0 && num == deeper[0] {
			if inner, _ := protowire.ConsumeBytes(m[n:]); huge(inner, deeper[1:]...) {
				return true
			}
		}
		m = m[n+size:]
	}
	return false
}

// compare requires that Deaggregate and a general protobuf reader see the same in a message.
func compare(t require.TestingT, m []byte) {
	want, ok := general(m)
	out, report := kpl.Deaggregate([]kcl.Record{carrier(2, sign(m))}, kpl.Options{})
	if len(m) == 0 {
		return // too short to be an aggregate, whatever it says
	}
	if !ok && report.Aggregates == 1 {
		require.True(t, huge(m, 3, 4), "a general reader refuses it")
		return
	}
	require.Equal(t, ok, report.Aggregates == 1, "%v", report.Err)
	if !ok {
		return
	}
	var got []string
	for _, r := range out {
		key, _ := r.PartitionKey()
		hash := "-"
		if h, ok := r.ExplicitHashKey(); ok {
			hash = fmt.Sprintf("%q", h)
		}
		got = append(got, fmt.Sprintf("%q %s %q", key, hash, r.Data()))
	}
	require.Equal(t, want, got)
}

// TestGeneralReaderAgrees shows that the comparison of the fuzz targets works.
func TestGeneralReaderAgrees(t *testing.T) {
	t.Parallel()
	whole := aggregate(t, "a", "bb", "")
	want, ok := general(whole[4 : len(whole)-16])
	require.True(t, ok)
	require.Len(t, want, 3)
	compare(t, whole[4:len(whole)-16])
	_, ok = general([]byte("\xff"))
	require.False(t, ok)
	for name, c := range corrupt(t) {
		if len(c.data) > 20 && len(c.data) < 100_000 && bytes.Equal(c.data, sign(c.data[4:len(c.data)-16])) {
			t.Run(name, func(t *testing.T) { compare(t, c.data[4:len(c.data)-16]) })
		}
	}
}
