package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

const ownerUsage = "whose `id` this is; without its random suffix, as in Config.WorkerID, all workers of that name"

// isOwner tells whether id names the worker: in full, or as far as a colon. A worker of
// this library is called what it is configured as, a colon, and ten random letters.
// With a KCL in Java it is mostly the host, a colon, and a UUID.
func isOwner(id, worker string) bool {
	return id != "" && (worker == id || strings.HasPrefix(worker, id+":"))
}

// owners are the workers that hold leases, and those of them that id names.
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

// nobody is what is said when no worker is named by id.
func nobody(id string, all []string) error {
	if len(all) == 0 {
		return fmt.Errorf("no lease is held by worker %q, nor by any other", id)
	}
	return fmt.Errorf("no lease is held by worker %q; those that hold leases: %s", id, joined(all))
}

// noStream is what is said when no lease is of a stream.
func noStream(name string, rows []leases.Lease) error {
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
		return fmt.Errorf("no lease is of -stream %q: the table is of one stream, whose name is not in its keys", name)
	}
	return fmt.Errorf("no lease is of -stream %q; the table has %s", name, joined(there))
}

// errEmpty is what is said of a table without rows, where that is a failure.
var errEmpty = errors.New("the table has no leases: no worker has made them yet, or they were deleted")
