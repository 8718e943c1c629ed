package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// fence holds the attributes that most writes depend on: the owners, and the counter, which every
// write of an owner raises.
const fence = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter

// change is one conditional write that has been decided. Without remove or create it is an update.
type change struct {
	read leases.Lease
	to   leases.Lease
	set  leases.Attr
	// remove deletes the row.
	remove bool
	// create makes a row that is missing.
	create bool
	// family is a number that related rows share: a failure stops its family, see families.Order.
	family int
	// unread means that the row cannot be read. The write then depends on nothing.
	unread bool
	// unfenced means that an update depends only on the attributes that it sets, not on fence.
	unfenced bool
	// redo decides the change anew on a row that was written since it was read: workers renew every
	// few seconds. It returns false if the new change would not be the one that was confirmed. Without
	// redo the row must be as it was read.
	redo func(now leases.Lease) (change, bool)
	// effect says what the change does, and warning what it can break.
	effect  string
	warning string
}

// expects returns the attributes that must be as they were read.
func (c change) expects() leases.Attr {
	switch {
	case c.unread:
		return 0
	case c.remove:
		return fence | leases.AttrCheckpoint
	}
	return c.fence() | c.set
}

func (c change) fence() leases.Attr {
	if c.unfenced {
		return 0
	}
	return fence
}

// written returns the attributes that show whether the change was made.
func (c change) written() leases.Attr {
	if c.create {
		return leases.AttrAll
	}
	return c.fence() | c.set
}

// after returns the row after the change.
func (c change) after() leases.Lease {
	if c.create {
		return c.to
	}
	return c.read.With(c.set, c.to)
}

// changed is a change in JSON.
type changed struct {
	Key    string `json:"key"`
	Effect string `json:"effect"`
	// Done is false in a dry run, and after a failure. Error says why.
	Done   bool      `json:"done"`
	Error  string    `json:"error,omitempty"`
	Before *view.Row `json:"before,omitempty"`
	After  *view.Row `json:"after,omitempty"`
}

// inJSON returns the changes as they would be made.
func inJSON(changes []change) []changed {
	out := []changed{}
	for _, c := range changes {
		out = append(out, c.inJSON())
	}
	return out
}

func (c change) inJSON() changed {
	o := changed{Key: c.read.Key, Effect: c.effect}
	if !c.unread && !c.create {
		before := view.RowOf(c.read)
		o.Before = &before
	}
	if !c.remove {
		after := view.RowOf(c.after())
		o.After = &after
	}
	return o
}

// inCells returns the changes as a table for people.
func inCells(changes []change) [][]string {
	cells := [][]string{{"KEY", "STATE", "OWNER", "CHECKPOINT", "COUNTER", "CHANGE"}}
	for _, c := range changes {
		l := c.read
		switch {
		case c.unread:
			cells = append(cells, []string{l.Key, view.StateBad, "?", "?", "?", c.effect})
		case c.create:
			cells = append(cells, []string{l.Key, "none", "-", "-", "-", c.effect})
		default:
			cells = append(cells, []string{
				l.Key, view.State(l), view.Owner(l), l.Checkpoint.String(), strconv.FormatInt(l.Counter, 10), c.effect,
			})
		}
	}
	return cells
}

// warnings returns each warning once, after the first three of its keys.
func warnings(changes []change) []string {
	var order []string
	keys := map[string][]string{}
	for _, c := range changes {
		if c.warning == "" {
			continue
		}
		if keys[c.warning] == nil {
			order = append(order, c.warning)
		}
		keys[c.warning] = append(keys[c.warning], c.read.Key)
	}
	for i, warning := range order {
		order[i] = fmt.Sprintf("%s: %s", view.First(3, keys[warning]), warning)
	}
	return order
}

// unique returns the keys without repetitions.
func unique(keys []string) []string {
	var out []string
	for _, k := range keys {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// streamKey returns the key of another shard of the same stream as l.
func streamKey(l leases.Lease, shardID string) string {
	if l.Stream == "" {
		return shardID
	}
	return l.Stream + ":" + shardID
}
