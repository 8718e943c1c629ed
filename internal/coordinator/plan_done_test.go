package coordinator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// A plan stands as long as its actions succeed.
func TestActionIsDone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		verb verb
		row  *leases.Lease
		want bool
	}{
		"taken":                    {take, &leases.Lease{Owner: "me"}, true},
		"taken by another":         {take, &leases.Lease{Owner: "b"}, false},
		"taken and asked for":      {take, &leases.Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"not known":                {take, nil, false},
		"asked for":                {ask, &leases.Lease{Owner: "me", CheckpointOwner: "a"}, true},
		"asked for by another":     {ask, &leases.Lease{Owner: "b", CheckpointOwner: "a"}, false},
		"asked for, owner changed": {ask, &leases.Lease{Owner: "me", CheckpointOwner: "b"}, false},
		"completed":                {complete, &leases.Lease{Owner: "b"}, true},
		"not completed":            {complete, &leases.Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"mended":                   {mend, &leases.Lease{Owner: "b"}, true},
	} {
		a := action{verb: tt.verb, row: leases.Lease{Owner: "a"}}
		require.Equal(t, tt.want, a.done(tt.row, "me"), name)
	}
}
