package dynamodb

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// FuzzFleetItems: any item is metrics, a lock, a state or a RowError, and never a panic. What was
// read can be written and read again.
func FuzzFleetItems(f *testing.F) {
	for _, r := range recordedItems(f) {
		f.Add([]byte(r.Item))
	}
	f.Add([]byte(`{"leaseKey":{"S":"w"},"lut":{"N":"1.5"},"sts":{"M":{"C":{"L":[{"N":"-1"},{"N":"1E100"}]}}},` +
		`"opr":{"M":{"C":{"L":[{"N":"0.5"}]}}},"sup":{"N":"2147483648"},"goWorker":{"BOOL":true}}`))
	f.Add([]byte(`{"leaseKey":{"S":"Leader"},"isReleased":{"S":"1"},"leaseDuration":{"S":"-9223372036854775808"},` +
		`"ownerName":{"NULL":true}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw map[string]fuzzValue
		if json.Unmarshal(b, &raw) != nil {
			return
		}
		it := item{}
		for name, v := range raw {
			if v.value != nil {
				it[name] = v.value
			}
		}
		tables := fleetTables()
		for _, p := range []*table{tables.leaseTable, tables.coordinator, tables.metrics} {
			if m, bad := decodeWorker(p, it); bad == nil {
				if fresh, _, err := encodeWorker(p, m); err == nil {
					again, bad := decodeWorker(p, fresh)
					require.Nil(t, bad)
					require.Equal(t, m.Worker, again.Worker)
					require.True(t, m.Updated.Equal(again.Updated))
				}
			} else {
				require.NotEmpty(t, bad.Error())
			}
			if l, bad := decodeLock(it, p.key); bad == nil {
				fresh, err := encodeLock(p, *l)
				require.NoError(t, err)
				again, bad := decodeLock(fresh, p.key)
				require.Nil(t, bad)
				require.Equal(t, l, again)
			}
			for _, attribute := range []string{attrClientVersion, attrTableMigration} {
				if m, bad := decodeMigration(it, p.key, attribute); bad == nil {
					require.True(t, isState(it, attribute, m))
					fresh := item{}
					addHistory(fresh, it, attribute)
					require.LessOrEqual(t, len(fresh[attrHistory].(*types.AttributeValueMemberL).Value), maxHistory)
				}
			}
		}
		_ = isWorker(it)
	})
}

// fuzzValue is a value of any type. It is nil for JSON that is no value.
type fuzzValue struct{ value types.AttributeValue }

func (v *fuzzValue) UnmarshalJSON(b []byte) error {
	var m struct {
		S, N *string
		B    []byte
		BOOL *bool
		SS   []string
		L    []fuzzValue
		M    map[string]fuzzValue
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	switch {
	case m.S != nil:
		v.value = str(*m.S)
	case m.N != nil:
		v.value = num(*m.N)
	case m.B != nil:
		v.value = &types.AttributeValueMemberB{Value: m.B}
	case m.BOOL != nil:
		v.value = &types.AttributeValueMemberBOOL{Value: *m.BOOL}
	case m.SS != nil:
		v.value = &types.AttributeValueMemberSS{Value: m.SS}
	case m.L != nil:
		list := &types.AttributeValueMemberL{}
		for _, e := range m.L {
			list.Value = append(list.Value, e.value)
		}
		v.value = list
	case m.M != nil:
		out := item{}
		for name, e := range m.M {
			out[name] = e.value
		}
		v.value = &types.AttributeValueMemberM{Value: out}
	}
	return nil
}
