package smallworld

import "github.com/kinesis-go/kcl/leases"

// mostLost is the largest bound for the lost answers of one history.
const mostLost = 2

// state is all that there is at one moment. It is a value, and holds no pointers.
type state struct {
	rows    [shards]row
	ages    [shards]uint8 // ticks since the counter of the row has changed, up to maxAge
	facts   [shards]facts
	held    [workers][shards]held
	flights [mostLost]flight // writes without an answer that may still reach the table
	lost    uint8            // answers that were lost so far
}

// facts are what has really happened to a shard. No worker knows them.
type facts struct {
	made    bool  // the shard had a row
	done    bool  // the record was processed
	top     uint8 // the furthest checkpoint that the table has accepted
	deleted bool  // clean-up has deleted the row
}

// held is a lease that a worker holds.
type held struct {
	on        bool
	row       row   // as the worker has written or read it last
	age       uint8 // ticks since the last accepted renewal was sent
	stopping  bool  // another worker has asked for the lease
	releasing bool  // the consumer has returned
	stale     bool  // another take was accepted since; the worker may not know
	attempts  [mostLost]attempt
}

// attempt is a write of the owner whose outcome it does not know.
type attempt struct {
	kind kind // nothing for no attempt
	to   row
	set  leases.Attr
	age  uint8 // ticks since it was sent
}

// flight is a write that was sent and may still reach the table.
type flight struct {
	kind   kind // nothing for no flight
	worker uint8
	shard  uint8
	stale  bool // another take was accepted since the sender took the lease
	write  write
}

// of returns what worker w holds of a shard.
func (s *state) of(w, shard uint8) *held { return &s.held[w-1][shard] }

// coder encodes or decodes a state, field by field.
type coder interface {
	numbers(...*uint8)
	flags(...*bool)
	attrs(*leases.Attr)
}

func (s *state) code(c coder) {
	for i := range s.rows {
		f := &s.facts[i]
		s.rows[i].code(c)
		c.numbers(&s.ages[i], &f.top)
		c.flags(&f.made, &f.done, &f.deleted)
		for w := range s.held {
			s.held[w][i].code(c)
		}
	}
	for i := range s.flights {
		f := &s.flights[i]
		c.numbers((*uint8)(&f.kind))
		if f.kind != nothing {
			c.numbers(&f.worker, &f.shard)
			c.flags(&f.stale)
			f.write.read.code(c)
			f.write.to.code(c)
			c.attrs(&f.write.expect)
			c.attrs(&f.write.set)
		}
	}
	c.numbers(&s.lost)
}

func (h *held) code(c coder) {
	c.flags(&h.on)
	if !h.on {
		return
	}
	h.row.code(c)
	c.numbers(&h.age)
	c.flags(&h.stopping, &h.releasing, &h.stale)
	for j := range h.attempts {
		a := &h.attempts[j]
		c.numbers((*uint8)(&a.kind))
		if a.kind != nothing {
			a.to.code(c)
			c.attrs(&a.set)
			c.numbers(&a.age)
		}
	}
}

func (r *row) code(c coder) {
	c.flags(&r.there)
	if r.there {
		c.numbers(&r.owner, &r.checkpointOwner, &r.handoverTo, &r.native, &r.counter, &r.switches, &r.checkpoint)
		c.flags(&r.children)
	}
}

// encoder appends the fields of a state to its bytes.
type encoder struct{ bytes []byte }

func (e *encoder) numbers(list ...*uint8) {
	for _, n := range list {
		e.bytes = append(e.bytes, *n)
	}
}

func (e *encoder) flags(list ...*bool) {
	var packed byte
	for i, b := range list {
		packed |= byte(bit(*b)) << i
	}
	e.bytes = append(e.bytes, packed)
}

func (e *encoder) attrs(a *leases.Attr) {
	e.bytes = append(e.bytes, byte(*a), byte(*a>>8), byte(*a>>16))
}

// decoder reads the fields of a state from bytes.
type decoder struct{ bytes []byte }

func (d *decoder) next() byte {
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return b
}

func (d *decoder) numbers(list ...*uint8) {
	for _, n := range list {
		*n = d.next()
	}
}

func (d *decoder) flags(list ...*bool) {
	packed := d.next()
	for i, b := range list {
		*b = packed>>i&1 == 1
	}
}

func (d *decoder) attrs(a *leases.Attr) {
	*a = leases.Attr(d.next()) | leases.Attr(d.next())<<8 | leases.Attr(d.next())<<16
}

func decode(b []byte) (s state) {
	s.code(&decoder{b})
	return s
}
