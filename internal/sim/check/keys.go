package check

import "fmt"

// keyOrder is the records of one partition key in the order of their writing, in all shards.
type keyOrder struct {
	places []place
	index  map[place]int
	next   int // no record before it is due any more
}

// place is where a record is.
type place struct {
	h *history
	i int
}

func (c *Checker) keyOrder(key string) *keyOrder {
	o := c.keys[key]
	if o == nil {
		o = &keyOrder{index: map[place]int{}}
		c.keys[key] = o
	}
	return o
}

// put notes the next record of the key.
func (o *keyOrder) put(h *history, i int) {
	o.index[place{h, i}] = len(o.places)
	o.places = append(o.places, place{h, i})
}

// done notes that a record is processed for the first time. It returns a text if an earlier record
// of the key is not processed.
func (o *keyOrder) done(s shards, h *history, i int) string {
	for o.next < len(o.places) && !s.due(o.places[o.next]) {
		o.next++
	}
	if n := o.index[place{h, i}]; n > o.next {
		return fmt.Sprintf("number %d of the key comes before number %d (record %d of its shard)", n, o.next,
			o.places[o.next].i)
	}
	return ""
}
