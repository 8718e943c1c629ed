package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// A plan stands as long as its actions succeed.
func TestActionIsDone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		verb Verb
		row  *leases.Lease
		want bool
	}{
		"taken":                    {Take, &leases.Lease{Owner: "me"}, true},
		"taken by another":         {Take, &leases.Lease{Owner: "b"}, false},
		"taken and asked for":      {Take, &leases.Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"not known":                {Take, nil, false},
		"asked for":                {Ask, &leases.Lease{Owner: "me", CheckpointOwner: "a"}, true},
		"asked for by another":     {Ask, &leases.Lease{Owner: "b", CheckpointOwner: "a"}, false},
		"asked for, owner changed": {Ask, &leases.Lease{Owner: "me", CheckpointOwner: "b"}, false},
		"completed":                {Complete, &leases.Lease{Owner: "b"}, true},
		"not completed":            {Complete, &leases.Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"mended":                   {Mend, &leases.Lease{Owner: "b"}, true},
	} {
		a := Action{Verb: tt.verb, Row: leases.Lease{Owner: "a"}}
		require.Equal(t, tt.want, a.Done(tt.row, "me"), name)
	}
}
