package sim

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/internal/sim/check"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
)

// The kinds of lease tables.
const (
	memoryTable   = "memory"
	dynamodbTable = "dynamodb"
	redisTable    = "redis"
)

var tableKinds = []string{memoryTable, dynamodbTable, redisTable}

// leaseTable is the lease table of a world. It tells the Checker of every accepted write.
type leaseTable interface {
	// store returns the table as a worker sees it.
	store(k *worker) leases.Store
	// setListLag makes listings late.
	setListLag(lag time.Duration)
	// breakRow makes a row unreadable until mend is called.
	breakRow(key string) (mend func())
	// lose keeps a worker from the table until find is called.
	lose(k *worker) (find func())
	// freeze holds back the calls of a worker until thaw is called.
	freeze(k *worker) (thaw func())
}

func newTable(w *World, network *memnet.Network) leaseTable {
	switch w.scenario.Table {
	case dynamodbTable:
		return newDynamoTable(w, network)
	case redisTable:
		return newPlainTable(w.check, redisStore(w.t))
	}
	return newPlainTable(w.check, memory.New())
}

// plainTable is a table whose faults happen in front of the store: package leasefault.
type plainTable struct {
	faults *leasefault.Injector // of the table as all workers see it
}

func newPlainTable(c *check.Checker, store leases.Store) *plainTable {
	return &plainTable{faults: leasefault.New(&observed{Store: store, check: c, turn: make(chan struct{}, 1)})}
}

func (p *plainTable) store(k *worker) leases.Store {
	calls := leasefault.New(signed{p.faults.Store(), k.name})
	calls.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
		sent := time.Now()
		err := k.callTable(ctx, call, apply)
		if err == nil {
			k.wrote(call.Update, sent)
		}
		return err
	})
	return calls.Store()
}

func (p *plainTable) setListLag(lag time.Duration) { p.faults.SetListLag(lag) }

func (p *plainTable) breakRow(key string) (mend func()) {
	p.faults.SetRowError(key, errTable)
	return func() { p.faults.SetRowError(key, nil) }
}

func (p *plainTable) lose(k *worker) (find func()) {
	k.lost.Store(true)
	return func() { k.lost.Store(false) }
}

// freeze has nothing to do: callTable looks at worker.frozen.
func (p *plainTable) freeze(*worker) (thaw func()) { return func() {} }
