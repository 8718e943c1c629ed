package leases

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// A field of a lease that no attribute has would neither be written nor compared.
func TestEachFieldOfALeaseHasAnAttribute(t *testing.T) {
	t.Parallel()
	var l Lease
	fields, names := map[any]bool{}, map[string]bool{}
	for set := AttrAll; set != 0; set &^= set.First() {
		f, value, state := set.First().Field(&l)
		fields[value] = true
		if state != nil {
			fields[state] = true
		}
		require.Equal(t, f.State != "", state != nil)
		for _, name := range []string{f.Name, f.Second, f.State} {
			require.False(t, name != "" && names[name], name)
			names[name] = true
		}
	}
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "Key", "Stream", "ShardID":
		default:
			require.Contains(t, fields, v.Field(i).Addr().Interface(), "field %s", name)
		}
	}
	require.Len(t, fields, v.NumField()-3)
	require.Panics(t, func() { AttrAll.Field(&l) })
}
