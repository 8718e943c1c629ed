package redis

import (
	"context"
	"errors"

	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/leases"
)

// pageSize is how many keys List takes from the index at once: Redis does nothing
// else meanwhile, for about 0.1 ms.
const pageSize = 500

// requestSize is about how many bytes ask for rows at once. Connections without a
// buffer, as of a Redis in a test, block when more is sent before an answer is read.
const requestSize = 3 << 10

// List implements [leases.Store]. It pages through the index, so that it neither
// scans the keys of Redis nor holds it up. Rows that come or go meanwhile may be
// in the listing or not.
//
// A script costs Redis three times as much for a row as a command of its own does, and
// every worker lists all rows every few seconds. So rows are read by HGETALL, and only
// what is not plainly a row is left to a script to judge.
func (s *Store) List(ctx context.Context) (leases.Listing, error) {
	var out leases.Listing
	for from := "-"; ; {
		page, err := s.table.call(ctx, "list", pageScript, nil, from, pageSize)
		if err != nil {
			return leases.Listing{}, err
		}
		if len(page) == 0 {
			return out, nil
		}
		for _, some := range s.table.requests(page) {
			if err := s.table.readRows(ctx, some, &out); err != nil {
				return leases.Listing{}, err
			}
		}
		if len(page) < pageSize {
			return out, nil
		}
		from = "(" + page[len(page)-1]
	}
}

// ListNow implements [leases.Store]: List reads from the master, and shows
// every write that was accepted before.
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) { return s.List(ctx) }

// requests cuts a page into parts of which each is one request.
func (t *table) requests(page []string) [][]string {
	var parts [][]string
	size, from := 0, 0
	for i, key := range page {
		size += len(t.keys.row) + len(key) + len("*2\r\n$7\r\nHGETALL\r\n$000\r\n\r\n")
		if i+1 == len(page) || size > requestSize {
			parts = append(parts, page[from:i+1])
			size, from = 0, i+1
		}
	}
	return parts
}

// readRows adds the rows of some leases to a listing, in their order.
func (t *table) readRows(ctx context.Context, page []string, out *leases.Listing) error {
	rows, err := t.plainRows(ctx, page)
	if err != nil {
		return err
	}
	var odd []string
	for i, key := range page {
		if len(rows[i]) == 0 {
			odd = append(odd, key)
		}
	}
	var judged [][]string
	if len(odd) > 0 {
		args := make([]any, len(odd))
		for i, key := range odd {
			args[i] = key
		}
		if judged, err = t.callRows(ctx, odd, args); err != nil {
			return err
		}
	}
	for i, key := range page {
		var l leases.Lease
		var bad *leases.RowError
		there := true
		if len(rows[i]) > 0 {
			l, bad = decode(key, rows[i])
			bad = t.remedy(key, bad)
		} else {
			l, there, bad = t.read(key, judged[0])
			judged = judged[1:]
		}
		switch {
		case bad != nil:
			out.Bad = append(out.Bad, bad)
		case there:
			out.Leases = append(out.Leases, l)
		}
	}
	return nil
}

// plainRows reads rows without a script. What Redis refuses is left empty, as is a row
// that is not there; all are when the table is not ours.
func (t *table) plainRows(ctx context.Context, page []string) ([]map[string]string, error) {
	rows := make([]map[string]string, len(page))
	answer, err := t.bounded(ctx, "list", func(ctx context.Context) ([]any, error) {
		master := t.master(ctx)
		if master == nil {
			return nil, nil
		}
		pipe := master.Pipeline()
		reads := make([]*sdk.MapStringStringCmd, len(page))
		for i, key := range page {
			reads[i] = pipe.HGetAll(ctx, t.keys.row+key)
		}
		head := pipe.HMGet(ctx, t.keys.table, "layout", "format", "application")
		if _, err := pipe.Exec(ctx); err != nil && !said(err) {
			return nil, err
		}
		if v := head.Val(); len(v) != 3 || v[0] != layoutName || v[1] != formatVersion || v[2] != t.application {
			return nil, nil
		}
		answer := make([]any, len(page))
		for i, r := range reads {
			if r.Err() != nil && !said(r.Err()) {
				return nil, r.Err()
			}
			answer[i] = r.Val()
		}
		return answer, nil
	})
	for i := range answer {
		rows[i], _ = answer[i].(map[string]string)
	}
	return rows, err
}

// master is a client whose reads go to the master, wherever scripts go: a client of a
// cluster may be configured to read from replicas. It is nil when that is not certain.
func (t *table) master(ctx context.Context) *sdk.Client {
	switch c := t.client.(type) {
	case *sdk.Client:
		return c
	case *sdk.ClusterClient:
		if node, err := c.MasterForKey(ctx, t.keys.table); err == nil {
			return node
		}
	}
	return nil
}

// said tells whether an error is an answer of Redis, and not a failure of the network.
func said(err error) bool {
	_, ok := errors.AsType[sdk.Error](err)
	return ok
}
