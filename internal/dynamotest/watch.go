package dynamotest

import "time"

// Change is a change of an item.
type Change struct {
	Table         string
	Client        string // the host that the request came from
	Before, After Item   // nil: there is no item
}

// put makes fresh the item at p, for a call. nil deletes the item.
func (db *database) put(t *table, p place, fresh Item, now time.Time) {
	old := t.get(p, time.Time{})
	t.put(p, fresh, now)
	if db.cfg.OnChange != nil && (old != nil || fresh != nil) {
		db.cfg.OnChange(Change{Table: t.TableName, Client: db.client, Before: old, After: fresh})
	}
}
