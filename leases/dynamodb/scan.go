package dynamodb

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// scan calls each for every item of the table, page by page.
func (s *Store) scan(ctx context.Context, consistent bool, each func(item)) error {
	in := &sdk.ScanInput{TableName: &s.cfg.Table, ConsistentRead: &consistent}
	for {
		page, err := call(ctx, s, "dynamodb:Scan", s.cfg.Client.Scan, in, s.soon)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			each(it)
		}
		// A page may be empty although more follow.
		if len(page.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
