package coordinator

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
)

// choresInterval is the time between two rounds of chores: migrations, and metrics of workers
// that are long gone.
const choresInterval = time.Minute

// chores does the leader's occasional work. It takes FailoverTime at most, because leases wait for
// the next round meanwhile. The next call does the rest.
func (d *leaderWork) chores(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.FailoverTime)
	defer cancel()
	begun := d.clock.Now().Mono
	for _, m := range d.workers {
		if !kcl3.Forgettable(m, d.clock.Wall()) || d.alive[m.Worker] {
			continue
		}
		if d.clock.Now().Mono-begun >= d.cfg.roundTime() {
			break
		}
		err := d.call(ctx, func(ctx context.Context) error { return d.store.ForgetWorker(ctx, m) })
		if err != nil {
			d.log.Debug("metrics of a former worker cannot be deleted", "former_worker", m.Worker, "err", err)
		}
	}
	if err := d.migrate(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn("migration to a single table does not proceed, trying again", "err", err)
	}
}

// migrate makes the next step of the migration to a single table, if there is one.
func (d *leaderWork) migrate(ctx context.Context) error {
	var m leases.Migrations
	err := d.call(ctx, func(ctx context.Context) (err error) {
		m, err = d.store.Migrations(ctx)
		return err
	})
	if err != nil || !m.SideTables {
		return err
	}
	step, ok := kcl3.NextTable(kcl3.TableView{
		Stored: m.Table, SideTables: m.SideTables, Migrate: m.MoveRequested,
		Leases: d.allRows(), Workers: d.workers, Alive: d.alive, Me: d.cfg.WorkerID, Now: d.clock.Wall(),
	})
	lock, lead := d.elector.Lock()
	if !ok || !lead {
		return nil
	}
	if step.Move {
		if err := d.call(ctx, func(ctx context.Context) error { return d.store.MoveToLeaseTable(ctx, lock) }); err != nil {
			return err
		}
	}
	err = d.call(ctx, func(ctx context.Context) error { return d.store.SetTableMigration(ctx, m.Table, step.To) })
	if err == nil {
		d.log.Info("migration to a single table proceeds", "status", step.To.Status)
	}
	return err
}
