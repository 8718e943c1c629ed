package main

import (
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl/leases"
)

// families brings rows into an order in which they can be made one by one, and in
// its reverse be deleted: parents before their children. A row that is left without
// its parent's would say that the parent was read to its end.
//
// order are indices of rows, and of says of each row which family it is of: those
// that are related, however far.
func families(rows []leases.Lease) (order, of []int) {
	type shard struct{ stream, id string }
	index := make(map[shard]int, len(rows))
	for i, l := range rows {
		index[shard{l.Stream, l.ShardID}] = i
	}
	of = make([]int, len(rows))
	for i := range of {
		of[i] = i
	}
	root := func(i int) int {
		for of[i] != i {
			of[i] = of[of[i]]
			i = of[i]
		}
		return i
	}
	placed := make([]bool, len(rows))
	var place func(i int)
	place = func(i int) {
		if placed[i] {
			return
		}
		placed[i] = true
		for _, id := range rows[i].Parents {
			if p, ok := index[shard{rows[i].Stream, id}]; ok {
				of[root(i)] = root(p)
				place(p)
			}
		}
		order = append(order, i)
	}
	for i := range rows {
		place(i)
	}
	for i := range of {
		of[i] = root(i)
	}
	return order, of
}

// halted remembers which families a failure has stopped.
type halted map[int]string

// by says that a row of a family failed.
func (h halted) by(family int, key string) {
	if h[family] == "" {
		h[family] = key
	}
}

// err says why a row of a family is left as it is, or nil.
func (h halted) err(family int) error {
	if h[family] == "" {
		return nil
	}
	return fmt.Errorf("not changed, as %s, which is related, was not: what is left must not look as if a parent had been read to its end; run it again", h[family])
}

var errRenewed = errors.New("a running worker renews it and makes it again: stop the worker first")
