package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// ownerUsage ends the usage of -owner.
const ownerUsage = "with this `id`; an id without its random suffix, as in Config.WorkerID, " +
	"means all workers of that name"

// isOwner tells whether id names the worker: the whole id, or the part before a colon. The id of a
// worker of this library is Config.WorkerID, a colon, and ten random letters. That of a worker of
// the Java KCL is mostly the host, a colon, and a UUID.
func isOwner(id, worker string) bool {
	return id != "" && (worker == id || strings.HasPrefix(worker, id+":"))
}

// owners returns the workers that hold leases, and those of them that id names.
func owners(rows []leases.Lease, id string) (all, named []string) {
	for _, l := range rows {
		worker := l.ActualOwner()
		if worker == "" || l.Finished() || slices.Contains(all, worker) {
			continue
		}
		all = append(all, worker)
		if isOwner(id, worker) {
			named = append(named, worker)
		}
	}
	return all, named
}

// errNoOwner is the error of an id that names none of the workers that hold leases.
func errNoOwner(id string, all []string) error {
	if len(all) == 0 {
		return fmt.Errorf("no lease is held by worker %q, nor by any other worker", id)
	}
	return fmt.Errorf("no lease is held by worker %q; workers that hold leases: %s", id, view.Join(all))
}

// errNoStream is the error of a stream of which the table has no lease.
func errNoStream(name string, rows []leases.Lease) error {
	var there []string
	for _, l := range rows {
		if !slices.Contains(there, l.Stream) {
			there = append(there, l.Stream)
		}
	}
	switch {
	case len(rows) == 0:
		return errEmpty
	case len(there) == 1 && there[0] == "":
		return fmt.Errorf("no lease is of -stream %q: the table is for one stream, and its keys do not name it", name)
	}
	return fmt.Errorf("no lease is of -stream %q; the table has %s", name, view.Join(there))
}

// errEmpty is the error of a table without rows.
var errEmpty = errors.New("the table has no leases: no worker has made them yet, or they were deleted")
