package redis

import (
	"context"
	"errors"

	sdk "github.com/redis/go-redis/v9"

	"github.com/kinesis-go/kcl/leases"
)

// pageSize is the number of keys that List reads from the index at once. Meanwhile Redis serves
// nobody else, for about 0.1 ms.
const pageSize = 500

// requestSize is about the number of bytes of a request for rows. A connection without a buffer,
// such as that of a Redis in a test, blocks when a larger request is sent before an answer is read.
const requestSize = 3 << 10

// List implements [leases.Store]. It reads the index page by page, so that it does not scan the
// keys of Redis or hold up other clients. Rows that are made or deleted meanwhile may be in the
// listing or not.
//
// To read a row, a script costs Redis three times as much as a command. Every worker lists all rows
// every few seconds. So HGETALL reads the rows. A script reads only those that HGETALL could not
// read.
func (s *Store) List(ctx context.Context) (leases.Listing, error) {
	var out leases.Listing
	for from := "-"; ; {
		page, err := s.table.runOnTable(ctx, "list", pageScript, from, pageSize)
		if err != nil {
			return leases.Listing{}, err
		}
		if len(page) == 0 {
			return out, nil
		}
		for _, part := range s.table.splitPage(page) {
			if err := s.table.readRows(ctx, part, &out); err != nil {
				return leases.Listing{}, err
			}
		}
		if len(page) < pageSize {
			return out, nil
		}
		from = "(" + page[len(page)-1]
	}
}

// ListNow implements [leases.Store]. It is List, which reads from the master and shows every write
// that was accepted before.
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) { return s.List(ctx) }

// splitPage divides a page into parts. Each part is one request.
func (t *table) splitPage(page []string) [][]string {
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
	rows, err := t.readHashes(ctx, page)
	if err != nil {
		return err
	}
	var unread []string
	for i, key := range page {
		if len(rows[i]) == 0 {
			unread = append(unread, key)
		}
	}
	var judged [][]string
	if len(unread) > 0 {
		args := make([]any, len(unread))
		for i, key := range unread {
			args[i] = key
		}
		if judged, err = t.judgeRows(ctx, unread, args); err != nil {
			return err
		}
	}
	for i, key := range page {
		var l leases.Lease
		var bad *leases.RowError
		there := true
		if len(rows[i]) > 0 {
			l, bad = decode(key, rows[i])
			bad = t.addRemedy(key, bad)
		} else {
			l, there, bad = t.decodeAnswer(key, judged[0])
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

// readHashes reads rows without a script. A row that does not exist, or that Redis refuses to read,
// is empty. If the table belongs to something else, all rows are empty.
func (t *table) readHashes(ctx context.Context, page []string) ([]map[string]string, error) {
	rows := make([]map[string]string, len(page))
	answer, err := t.callInTime(ctx, "list", func(ctx context.Context) ([]any, error) {
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
		if _, err := pipe.Exec(ctx); err != nil && !isAnswer(err) {
			return nil, err
		}
		if v := head.Val(); len(v) != 3 || v[0] != layoutName || v[1] != formatVersion || v[2] != t.application {
			return nil, nil
		}
		answer := make([]any, len(page))
		for i, r := range reads {
			if r.Err() != nil && !isAnswer(r.Err()) {
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

// master returns a client whose reads go to the master, as scripts do. The client of a cluster may
// be configured to read from replicas. master returns nil if the master is not known.
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

// isAnswer tells whether an error is an answer of Redis, and not a failure of the network.
func isAnswer(err error) bool {
	_, ok := errors.AsType[sdk.Error](err)
	return ok
}
