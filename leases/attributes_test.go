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
	fields, names := map[any]string{}, map[string]bool{} // names in a table
	for set := AttrAll; set != 0; set &^= set.First() {
		f, value, state := set.First().Field(&l)
		fields[value] = f.Name
		if state != nil {
			fields[state] = f.State
		}
		require.Equal(t, f.State != "", state != nil)
		for _, name := range []string{f.Name, f.Second, f.State} {
			require.False(t, name != "" && names[name], name)
			names[name] = true
		}
	}
	v := reflect.ValueOf(&l).Elem()
	for _, field := range reflect.VisibleFields(v.Type()) {
		switch field.Name {
		case "Key", "Stream", "ShardID", "Extension":
			continue
		}
		value := v.FieldByIndex(field.Index).Addr().Interface()
		require.Contains(t, fields, value, "field %s", field.Name)
		promoted := len(field.Index) > 1 // a field of the Extension, whose names in a table begin with go
		require.Equal(t, promoted, strings.HasPrefix(fields[value], "go"), field.Name)
		delete(fields, value)
	}
	require.Empty(t, fields)
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
