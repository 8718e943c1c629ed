// Package families orders the rows of related shards, so that each can be written alone.
//
// Rows are made one by one, parents before their children, and deleted in the reverse order. After
// a failure in between no child is left without its parent. Workers would take the missing parent
// for read to its end.
package families

import (
	"fmt"

	"github.com/kinesis-go/kcl/leases"
)

// Order returns the indices of rows, parents before their children. For each row, family is a
// number that it shares with all its relatives, near and distant.
func Order(rows []leases.Lease) (order, family []int) {
	type shard struct{ stream, id string }
	index := make(map[shard]int, len(rows))
	for i, l := range rows {
		index[shard{l.Stream, l.ShardID}] = i
	}
	family = make([]int, len(rows))
	for i := range family {
		family[i] = i
	}
	root := func(i int) int {
		for family[i] != i {
			family[i] = family[family[i]]
			i = family[i]
		}
		return i
	}
	visited := make([]bool, len(rows))
	var visit func(i int)
	visit = func(i int) {
		if visited[i] {
			return
		}
		visited[i] = true
		for _, id := range rows[i].Parents {
			if p, ok := index[shard{rows[i].Stream, id}]; ok {
				family[root(i)] = root(p)
				visit(p)
			}
		}
		order = append(order, i)
	}
	for i := range rows {
		visit(i)
	}
	for i := range family {
		family[i] = root(i)
	}
	return order, family
}

// Failed holds the families with a failure, each with the key of the row that failed.
type Failed map[int]string

// Add records that the write of a row failed. The first failure of a family is kept.
func (f Failed) Add(family int, key string) {
	if f[family] == "" {
		f[family] = key
	}
}

// Check returns an error for a row whose family has a failure. Such a row must not be written.
func (f Failed) Check(family int) error {
	if f[family] == "" {
		return nil
	}
	return fmt.Errorf("not changed, because the related row %s was not changed: "+
		"workers would take a parent without a row for read to its end; run the command again", f[family])
}
