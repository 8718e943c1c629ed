package fleettest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// campaign does what the lock client of the KCL does to get the lock.
func (j *JavaWorker) campaign(ctx context.Context) {
	lock, err := j.store.Fleet().Leader(ctx)
	if err != nil {
		return
	}
	if lock != nil && !lock.Released {
		if lock.Version != j.seen.version {
			j.seen.version, j.seen.since = lock.Version, time.Now()
		}
		if time.Since(j.seen.since) <= lock.Duration {
			return
		}
	}
	to := leases.LeaderLock{Owner: j.id, Version: fmt.Sprint(j.id, time.Now().UnixNano()), Duration: 120 * time.Second}
	if j.store.Fleet().AcquireLeader(ctx, lock, to) == nil {
		j.lock = &to
	}
}

func (j *JavaWorker) heartbeat(ctx context.Context) {
	version := fmt.Sprint(j.id, time.Now().UnixNano())
	err := j.store.Fleet().HeartbeatLeader(ctx, *j.lock, version)
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		j.lock = nil
	} else if err == nil {
		j.lock.Version = version
	}
}

// assign is the LeaseAssignmentManager, by lease count. It makes operation A for leases that are
// free or expired, and one operation H from the fullest worker to the emptiest.
func (j *JavaWorker) assign(ctx context.Context) {
	list, err := j.store.List(ctx)
	if err != nil {
		return
	}
	workers, _, err := j.store.Fleet().Workers(ctx)
	if err != nil {
		return
	}
	count := map[string]int{}
	for _, w := range workers {
		if time.Since(w.Updated) < time.Minute {
			count[w.Worker] = 0
		}
	}
	emptiest := func() (id string) {
		for _, w := range slices.Sorted(maps.Keys(count)) {
			if id == "" || count[w] < count[id] {
				id = w
			}
		}
		return id
	}
	var idle []leases.Lease
	byOwner := map[string][]leases.Lease{}
	for _, row := range list.Leases {
		s, known := j.counters[row.Key]
		if !known || s.counter != row.Counter {
			s = javaSighting{row.Counter, time.Now()}
			j.counters[row.Key] = s
		}
		switch {
		case row.Finished():
		case row.ActualOwner() == "" || time.Since(s.since) > 10*time.Second:
			idle = append(idle, row)
		default:
			if _, active := count[row.Owner]; active {
				count[row.Owner]++
			}
			if row.CheckpointOwner == "" {
				byOwner[row.Owner] = append(byOwner[row.Owner], row)
			}
		}
	}
	for _, row := range idle {
		to := row
		if to.Owner = emptiest(); to.Owner == "" || row.Owner == to.Owner && row.CheckpointOwner == "" {
			continue
		}
		count[to.Owner]++
		to.CheckpointOwner = ""
		to.Counter++
		_ = j.store.Update(ctx, leases.Update{
			Read: row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner, To: to,
			Set: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
		})
	}
	fullest := ""
	for _, w := range slices.Sorted(maps.Keys(byOwner)) {
		if fullest == "" || len(byOwner[w]) > len(byOwner[fullest]) {
			fullest = w
		}
	}
	if to := emptiest(); to != "" && fullest != "" && len(byOwner[fullest])-count[to] >= 2 {
		row := byOwner[fullest][0]
		next := row
		next.Owner, next.CheckpointOwner = to, fullest
		_ = j.store.Update(ctx, leases.Update{
			Read: row, Expect: leases.AttrOwner | leases.AttrCheckpointOwner,
			To: next, Set: leases.AttrOwner | leases.AttrCheckpointOwner,
		})
	}
}
