package leases

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A plan stands as long as the rows are as it wanted them.
func TestActionIsDone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		verb verb
		row  *Lease
		want bool
	}{
		"taken":                    {take, &Lease{Owner: "me"}, true},
		"taken by another":         {take, &Lease{Owner: "b"}, false},
		"taken and asked for":      {take, &Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"not known":                {take, nil, false},
		"asked for":                {ask, &Lease{Owner: "me", CheckpointOwner: "a"}, true},
		"asked for by another":     {ask, &Lease{Owner: "b", CheckpointOwner: "a"}, false},
		"asked for, owner changed": {ask, &Lease{Owner: "me", CheckpointOwner: "b"}, false},
		"completed":                {finish, &Lease{Owner: "b"}, true},
		"not completed":            {finish, &Lease{Owner: "b", CheckpointOwner: "me"}, false},
		"mended":                   {mend, &Lease{Owner: "b"}, true},
	} {
		a := action{verb: tt.verb, row: Lease{Owner: "a"}}
		require.Equal(t, tt.want, a.done(tt.row, "me"), name)
	}
}
