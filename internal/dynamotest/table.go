package dynamotest

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"slices"
	"time"
)

// table is one table. database.mu guards it.
type table struct {
	createTableRequest
	arn     string
	created time.Time
	readyAt time.Time // ACTIVE from then on
	goneAt  time.Time // zero, or when it is deleted
	indexes []*index
	pitr    bool
	rows    []*row        // sorted by place
	scans   int           // Scan requests that go on from a key, for Config.EmptyPages
	lag     time.Duration // the longest time that reads can be behind
}

// row keeps its versions for as long as an eventually consistent read may see them.
type row struct {
	place    place
	versions []version // oldest first; at least one
}

type version struct {
	at   time.Time
	item Item // nil: deleted
}

// place orders the rows of a scan: by hash, then by key.
type place struct {
	hash uint32
	key  string
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.hash, q.hash), cmp.Compare(p.key, q.key))
}

func placeOf(key Item) place {
	b, err := json.Marshal(key) // sorts the names
	if err != nil {
		panic(err) // only for values of an unknown type, which decoding refuses
	}
	h := fnv.New32a()
	_, _ = h.Write(b)
	return place{hash: h.Sum32(), key: string(b)}
}

// key returns the key attributes of an item.
func (t *table) key(item Item) (Item, *apiError) {
	key := Item{}
	for _, k := range t.KeySchema {
		v, ok := item[k.AttributeName]
		if !ok {
			return nil, validationf("One or more parameter values were invalid: Missing the key %s in the item", k.AttributeName)
		}
		if want := t.attributeType(k.AttributeName); v.Type != want {
			return nil, validationf(
				"One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", k.AttributeName,
				want, v.Type)
		}
		if v.Text == "" {
			return nil, validationf("One or more parameter values are not valid. The AttributeValue for a key attribute "+
				"cannot contain an empty string value. Key: %s", k.AttributeName)
		}
		key[k.AttributeName] = v
	}
	return key, nil
}

// exactKey is key for requests whose Key may have no other attributes.
func (t *table) exactKey(item Item) (Item, *apiError) {
	if len(item) != len(t.KeySchema) {
		return nil, validation("The provided key element does not match the schema")
	}
	for _, k := range t.KeySchema {
		if v, ok := item[k.AttributeName]; !ok || v.Type != t.attributeType(k.AttributeName) {
			return nil, validation("The provided key element does not match the schema")
		}
	}
	return t.key(item)
}

func (t *table) attributeType(name string) string {
	for _, a := range t.AttributeDefinitions {
		if a.AttributeName == name {
			return a.AttributeType
		}
	}
	return ""
}

func (t *table) find(p place) (int, bool) {
	return slices.BinarySearchFunc(t.rows, p, func(r *row, p place) int { return r.place.compare(p) })
}

// get returns the item as of a time. The zero time means now. It returns nil if there is no item.
func (t *table) get(p place, asOf time.Time) Item {
	i, ok := t.find(p)
	if !ok {
		return nil
	}
	return t.rows[i].at(asOf)
}

func (r *row) at(asOf time.Time) Item {
	for i := len(r.versions) - 1; i >= 0; i-- {
		if v := r.versions[i]; asOf.IsZero() || !v.at.After(asOf) {
			return v.item
		}
	}
	return nil
}

// put makes item the newest version of the row. nil deletes the row.
func (t *table) put(p place, item Item, now time.Time) {
	i, ok := t.find(p)
	if !ok {
		if item == nil {
			return
		}
		t.rows = slices.Insert(t.rows, i, &row{place: p})
	}
	r := t.rows[i]
	r.versions = append(r.versions, version{at: now, item: item})
	// Drop versions that no read can see any more.
	old := 0
	for old+1 < len(r.versions) && !r.versions[old+1].at.After(now.Add(-t.lag)) {
		old++
	}
	r.versions = r.versions[old:]
	if len(r.versions) == 1 && item == nil {
		t.rows = slices.Delete(t.rows, i, i+1)
	}
}

func (t *table) status(now time.Time) string {
	switch {
	case !t.goneAt.IsZero():
		return "DELETING"
	case now.Before(t.readyAt):
		return "CREATING"
	}
	for _, x := range t.indexes {
		if now.Before(x.readyAt) {
			return "UPDATING"
		}
	}
	return "ACTIVE"
}
