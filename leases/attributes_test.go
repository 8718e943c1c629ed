package leases

import (
	"errors"
	"reflect"
	"strings"
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

func TestAttrAndLease(t *testing.T) {
	t.Parallel()
	l := Lease{Owner: "b", CheckpointOwner: "a", Parents: []string{"x", "y"}}
	require.Equal(t, "a", l.ActualOwner())
	l.CheckpointOwner = ""
	require.Equal(t, "b", l.ActualOwner())
	require.True(t, l.Same(AttrAll, Lease{Owner: "b", Parents: []string{"y", "x"}}))
	require.False(t, l.Same(AttrParents, Lease{Parents: []string{"y", "z"}}))
	require.True(t, l.Same(0, Lease{}))
	errStore := errors.New("the store is not well")
	var lines []string
	for _, err := range []error{
		&ConflictError{Key: "k"}, &ConflictError{Key: "k", Current: &l}, &RowError{Key: "k", Err: errStore},
	} {
		lines = append(lines, err.Error())
	}
	require.Contains(t, strings.Join(lines, "\n"), `"k"`)
	require.ErrorIs(t, &RowError{Err: errStore}, errStore)
}
