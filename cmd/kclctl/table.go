package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases"
)

// read opens the store and reads all rows.
func (s *source) read(ctx context.Context, t *terminal.Terminal) (leases.Store, leases.Listing, error) {
	store, err := s.open(ctx, t)
	if err != nil {
		return nil, leases.Listing{}, err
	}
	listing, err := s.list(ctx, store)
	return store, listing, err
}

// list reads all rows, and sorts them by stream and key.
func (s *source) list(ctx context.Context, store leases.Store) (leases.Listing, error) {
	l, err := store.List(ctx)
	if err != nil {
		return l, s.explain(err)
	}
	sortListing(l)
	if len(l.Leases) == 0 && len(l.Bad) > 0 && allWithoutKey(l.Bad) {
		return l, fmt.Errorf("table %s is no lease table: its rows have no leaseKey; "+
			"if it is one of vmware-go-kcl or of a fork of it, read it with `kclctl leases import -from %s`: %w",
			s.name(), s.name(), leases.ErrForeignTable)
	}
	if len(l.Leases) == 0 && len(l.Bad) == 0 && s.kind() == kindDynamoDB {
		return l, s.checkKey(ctx)
	}
	return l, nil
}

func sortListing(l leases.Listing) {
	slices.SortFunc(l.Leases, func(a, b leases.Lease) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(l.Bad, func(a, b *leases.RowError) int { return cmp.Compare(a.Key, b.Key) })
}

func allWithoutKey(bad []*leases.RowError) bool {
	return !slices.ContainsFunc(bad, func(e *leases.RowError) bool { return e.Key != "" })
}

// checkKey returns an error for an empty table that cannot become a lease table, because it has
// another key. It returns nil where the table may not be described.
func (s *source) checkKey(ctx context.Context) error {
	client, err := s.dynamo(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name := s.name()
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil || out.Table == nil {
		return nil
	}
	var keys []string
	for _, k := range out.Table.KeySchema {
		keys = append(keys, aws.ToString(k.AttributeName))
	}
	if len(keys) == 0 || slices.Equal(keys, []string{"leaseKey"}) {
		return nil
	}
	return fmt.Errorf("table %s is empty, and no lease table: its key is %s, not leaseKey: check -table: %w",
		name, strings.Join(keys, ", "), leases.ErrForeignTable)
}

// explain adds the flags to check to the error of a table that does not exist. It returns other
// errors as they are.
func (s *source) explain(err error) error {
	if !errors.Is(err, leases.ErrTableNotFound) {
		return err
	}
	where := "the region and the account"
	if s.kind() == kindRedis {
		where = "-redis and -redis-prefix"
	}
	return fmt.Errorf("there is no table %s here: check -table, %s: %w", s.name(), where, leases.ErrTableNotFound)
}
