package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// dynamoTable is a table in a fake DynamoDB. Each worker calls it from the host of its own, and
// faults happen to the calls on the wire.
type dynamoTable struct {
	w    *World
	srv  *dynamotest.Server
	rows decoder
}

func newDynamoTable(w *World, network *memnet.Network) *dynamoTable {
	d := w.dice.roll("dynamodb")
	t := &dynamoTable{w: w}
	decoding := sdk.New(sdk.Options{Region: "none", HTTPClient: &t.rows})
	t.rows.store = dynamodb.New(dynamodb.Config{Client: decoding, Table: application})
	cfg := dynamotest.Config{
		Network: network, OnChange: t.changed,
		SettleTime: d.roll("settle").between(0, 20*time.Second),
		PageRows:   d.roll("page").n(6), // 0 is no limit
		EmptyPages: d.roll("empty").chance(0.3),
	}
	if w.scenario.Has("table-list-lags") {
		cfg.Lag = d.roll("lag").skewed(100*time.Millisecond, 3*time.Second)
	}
	t.srv = dynamotest.Start(cfg)
	t.srv.OnCall(t.call)
	w.t.Cleanup(t.srv.Close)
	return t
}

func (t *dynamoTable) store(k *worker) leases.Store {
	return renewing{k: k, SharedStore: dynamodb.New(dynamodb.Config{
		Table:          application,
		RequestTimeout: min(3*time.Second, t.w.scenario.failover()*3/10),
		Client: awstest.DynamoDBFrom(t.w.t, t.srv, k.name, func(o *sdk.Options) {
			// The waits of the SDK are random. The decisions of a world follow from its seed alone.
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
					return 50 * time.Millisecond << attempt, nil
				})
			})
		}),
	})}
}

// renewing is a store that notes the answers to the writes of a worker.
type renewing struct {
	leases.SharedStore
	k *worker
}

func (r renewing) Update(ctx context.Context, u leases.Update) error {
	sent := time.Now()
	err := r.SharedStore.Update(ctx, u)
	if err == nil {
		r.k.wrote(u, sent)
	}
	return err
}

// setListLag has nothing to do: the table has its lag from the start.
func (t *dynamoTable) setListLag(time.Duration) {}

// breakRow has nothing to do: a program that writes such rows is no fault of a table.
func (t *dynamoTable) breakRow(string) (mend func()) { return func() {} }

func (t *dynamoTable) lose(k *worker) (find func()) {
	link := t.srv.Link(k.name)
	link.Hold()
	return link.Release
}

func (t *dynamoTable) freeze(k *worker) (thaw func()) {
	return t.srv.Freeze(func(c dynamotest.Call) bool { return c.Client == k.name })
}

// call decides what happens to a call. The call and the answer take time.
func (t *dynamoTable) call(c dynamotest.Call) []dynamotest.Action {
	w := t.w
	d := w.dice.roll("dynamodb", c.Client, c.Operation, c.Key, time.Now())
	actions := []dynamotest.Action{
		dynamotest.Delay(d.roll("there").between(time.Millisecond, 10*time.Millisecond)),
		dynamotest.DelayAnswer(d.roll("back").between(time.Millisecond, 10*time.Millisecond)),
	}
	switch {
	case w.outage.on.Load() && w.outage.silent.Load():
		return append(actions, dynamotest.Silence())
	case w.outage.on.Load():
		return append(actions, dynamotest.Fail("InternalServerError", "outage of the simulation"))
	}
	for _, f := range w.tableFaults {
		if f.dynamodb != nil && f.strikes(w, d, c.Client, c.Operation, c.Key) {
			actions = append(actions, f.dynamodb(d.roll(f.name, "how"))...)
		}
	}
	return actions
}

// changed tells the Checker of a change of a row. Changes come one by one.
func (t *dynamoTable) changed(c dynamotest.Change) {
	before, err1 := t.rows.decode(c.Before)
	after, err2 := t.rows.decode(c.After)
	if err := errors.Join(err1, err2); err != nil {
		t.w.check.Violate("world", "", "%s has written a row that cannot be read: %v", c.Client, err)
		return
	}
	if before != nil || after != nil {
		t.w.check.Wrote(c.Client, before, after)
	}
}

// decoder decodes items with the code of leases/dynamodb: a store asks for a row, and gets the item
// as the answer. It does one item at a time.
type decoder struct {
	store *dynamodb.Store
	item  dynamotest.Item
}

// decode returns the lease of an item. It is nil for an item of another kind, and for no item.
func (d *decoder) decode(item dynamotest.Item) (*leases.Lease, error) {
	if item == nil {
		return nil, nil
	}
	d.item = item
	row, err := d.store.Get(context.Background(), "of the item")
	switch {
	case errors.Is(err, leases.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &row, nil
}

// Do answers GetItem with the item.
func (d *decoder) Do(*http.Request) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{"Item": d.item})
	if err != nil {
		return nil, fmt.Errorf("encode an item: %w", err)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}, nil
}
