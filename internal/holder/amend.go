package holder

import "github.com/kinesis-go/kcl/leases"

// amendAttrs are the attributes that other workers and tools write too. Their writes do not raise
// the counter.
const amendAttrs = leases.AttrParents | leases.AttrHashKeyRange | leases.AttrPinnedAt | leases.AttrStreamCreated |
	leases.AttrApplication | leases.AttrStreamARN | leases.AttrOrigin | leases.AttrPaused | leases.AttrReset

// Amend tells the holder about another writer's write to its row. That write set the attributes of
// set that are not empty in row. Amend ignores attributes that only the owner writes. If the row
// vanishes, the holder makes it again with these values.
func (h *held) Amend(row leases.Lease, set leases.Attr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	set &= amendAttrs
	if h.row.Started() {
		set &^= leases.AttrPinnedAt // a sequence number has no PinnedAt
	}
	h.row = amended(h.row, row, set)
}

// amended returns l with the attributes of set taken from m. An attribute of amendAttrs that is
// empty in m stays as in l.
func amended(l, m leases.Lease, set leases.Attr) leases.Lease {
	for a := leases.Attr(1); a < leases.AttrAll; a <<= 1 {
		if set.Has(a) && (!m.Same(a, leases.Lease{}) || amendAttrs&a == 0) {
			l = l.With(a, m)
		}
	}
	return l
}
