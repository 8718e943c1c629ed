package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/leases"
)

// Store is a lease table in DynamoDB. It is safe for concurrent use. It remembers for a while which
// side tables exist and how large the table is, and nothing else.
type Store struct {
	cfg   Config
	table *table
	fleet *fleet
}

var _ leases.SharedStore = (*Store)(nil)

// New returns a Store. It makes no request. [Store.Validate] and [Store.Init] report problems of
// cfg.
func New(cfg Config) *Store {
	cfg.Tags = maps.Clone(cfg.Tags)
	t := newTable(cfg)
	return &Store{cfg: cfg, table: t, fleet: newFleet(cfg, t)}
}

// Fleet implements [leases.SharedStore].
func (s *Store) Fleet() leases.FleetStore { return s.fleet }

// Validate reports every problem of the Config that New was given.
func (s *Store) Validate() error {
	if s == nil {
		return errors.New("leases/dynamodb: the store is nil: make it with dynamodb.New")
	}
	if err := s.cfg.Validate(); err != nil {
		return fmt.Errorf("leases/dynamodb: %w", err)
	}
	return nil
}

// List implements [leases.Store] with a paged Scan of each segment. It leaves out the items of
// other kinds that KCL 3.5 keeps in the table.
func (s *Store) List(ctx context.Context) (leases.Listing, error) {
	return s.list(ctx, s.cfg.ConsistentList)
}

// ListNow implements [leases.Store] with a consistent Scan, which costs twice as many read units as
// an eventually consistent one.
func (s *Store) ListNow(ctx context.Context) (leases.Listing, error) { return s.list(ctx, true) }

func (s *Store) list(ctx context.Context, consistent bool) (leases.Listing, error) {
	var out leases.Listing
	err := s.table.scan(ctx, consistent, func(it item) {
		if !isLease(it) {
			if isWorker(it) {
				if m, bad := decodeWorker(s.table, it); bad == nil {
					out.Workers = append(out.Workers, m)
				}
			}
			return
		}
		if l, bad := decode(it); bad != nil {
			out.Bad = append(out.Bad, bad)
		} else {
			out.Leases = append(out.Leases, l)
		}
	})
	if err != nil {
		return leases.Listing{}, err
	}
	return out, nil
}

// Get implements [leases.Store] with a consistent read.
func (s *Store) Get(ctx context.Context, key string) (leases.Lease, error) {
	it, err := s.table.get(ctx, key)
	switch {
	case err != nil:
		return leases.Lease{}, err
	case it == nil || !isLease(it):
		return leases.Lease{}, fmt.Errorf("%w: %q in table %s", leases.ErrNotFound, key, s.cfg.Table)
	}
	l, bad := decode(it)
	if bad != nil {
		return leases.Lease{}, bad
	}
	return l, nil
}

// Create implements [leases.Store] with a PutItem that never overwrites.
func (s *Store) Create(ctx context.Context, l leases.Lease) error {
	it, err := encode(l)
	if err != nil {
		return err
	}
	e := newExpression()
	_, err = callTable(ctx, s.table, "dynamodb:PutItem", s.cfg.Client.PutItem, &sdk.PutItemInput{
		TableName: &s.cfg.Table, Item: it,
		ConditionExpression:                 aws.String(e.absent(attrKey)),
		ExpressionAttributeNames:            e.names,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, noRetries)
	return s.conflict(ctx, l.Key, err)
}

// Update implements [leases.Store] with one conditional UpdateItem.
func (s *Store) Update(ctx context.Context, u leases.Update) error {
	e := newExpression()
	condition, err := e.condition(u.Read, u.Expect)
	if err != nil {
		return err
	}
	update, err := e.update(u.To, u.Set)
	if err != nil {
		return err
	}
	in := &sdk.UpdateItemInput{
		TableName: &s.cfg.Table, Key: item{attrKey: str(u.Read.Key)},
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if update != "" {
		in.UpdateExpression = &update
	}
	_, err = callTable(ctx, s.table, "dynamodb:UpdateItem", s.cfg.Client.UpdateItem, in, noRetries)
	return s.conflict(ctx, u.Read.Key, err)
}

// Delete implements [leases.Store] with one conditional DeleteItem. The KCL deletes without a
// condition.
func (s *Store) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	e := newExpression()
	condition, err := e.condition(read, expect)
	if err != nil {
		return err
	}
	_, err = callTable(ctx, s.table, "dynamodb:DeleteItem", s.cfg.Client.DeleteItem, &sdk.DeleteItemInput{
		TableName: &s.cfg.Table, Key: item{attrKey: str(read.Key)},
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, noRetries)
	err = s.conflict(ctx, read.Key, err)
	if c, ok := errors.AsType[*leases.ConflictError](err); ok && c.Current == nil {
		return nil
	}
	return err
}

// conflict turns a failed condition into a [*leases.ConflictError] with the row that was found.
// Some servers do not return the row, as DynamoDB does since 2023. Then it is read.
func (s *Store) conflict(ctx context.Context, key string, err error) error {
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return err
	}
	if len(failed.Item) > 0 {
		l, bad := decode(failed.Item)
		if bad != nil {
			return bad
		}
		return &leases.ConflictError{Key: key, Current: &l}
	}
	l, err := s.Get(ctx, key)
	switch {
	case errors.Is(err, leases.ErrNotFound):
		return &leases.ConflictError{Key: key}
	case err != nil:
		return fmt.Errorf("after a failed condition: %w", err)
	}
	return &leases.ConflictError{Key: key, Current: &l}
}
