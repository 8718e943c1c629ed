package gokcl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	dynamo "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/pageguard"
	"github.com/kinesis-go/kcl/leases"
)

type item = map[string]types.AttributeValue

// creationTimeout bounds the wait for a new table.
const creationTimeout = 10 * time.Minute

// DynamoDBTable is a lease table of vmware-go-kcl or one of its forks in DynamoDB. It is no
// [leases.Store]. It is safe for concurrent use.
type DynamoDBTable struct {
	client  *dynamo.Client
	http    line.HTTPClient // of client; leaves connections that fail
	name    string
	timeout time.Duration
}

// NewDynamoDBTable returns the table name. It makes no request. timeout bounds each write, and each
// read with its repetitions. For a page of a listing, it bounds the time without a byte.
func NewDynamoDBTable(client *dynamo.Client, name string, timeout time.Duration) *DynamoDBTable {
	return &DynamoDBTable{client: client, http: line.NewClient(client.Options().HTTPClient), name: name, timeout: timeout}
}

// Init makes the table, on demand, if it does not exist, and waits until it can be used. A table of
// another layout is an error that wraps [leases.ErrForeignTable].
func (t *DynamoDBTable) Init(ctx context.Context) error {
	err := t.check(ctx)
	if !errors.Is(err, leases.ErrTableNotFound) {
		return err
	}
	key := aws.String(FieldShardID)
	_, err = call(ctx, t, "dynamodb:CreateTable", t.client.CreateTable, &dynamo.CreateTableInput{
		TableName:            &t.name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: key, KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	}, t.write)
	if err != nil && !awserr.Is(err, "ResourceInUseException") {
		return err
	}
	in := &dynamo.DescribeTableInput{TableName: &t.name}
	if err := dynamo.NewTableExistsWaiter(t.client).Wait(ctx, in, creationTimeout); err != nil {
		return fmt.Errorf("wait for table %s to become ACTIVE: %w", t.name, err)
	}
	return t.check(ctx)
}

// check refuses a table of another layout.
func (t *DynamoDBTable) check(ctx context.Context) error {
	in := &dynamo.DescribeTableInput{TableName: &t.name}
	out, err := call(ctx, t, "dynamodb:DescribeTable", t.client.DescribeTable, in, t.read)
	switch {
	case err != nil:
		return err
	case out.Table == nil:
		return fmt.Errorf("dynamodb:DescribeTable table %s: the answer has no Table", t.name)
	}
	var names []string
	for _, k := range out.Table.KeySchema {
		names = append(names, aws.ToString(k.AttributeName))
	}
	switch {
	case slices.Equal(names, []string{FieldShardID}):
		return nil
	case slices.Equal(names, []string{"leaseKey"}):
		return fmt.Errorf("%w of go-kcl: table %s has the key leaseKey: it is one of this library or of the Java KCL, "+
			"and is used as it is", leases.ErrForeignTable, t.name)
	}
	return fmt.Errorf("%w of go-kcl: table %s has the key %q, not %s", leases.ErrForeignTable, t.name, names, FieldShardID)
}

// List returns all rows, in no order, as they are now, and an error for each row that cannot be
// read.
func (t *DynamoDBTable) List(ctx context.Context) ([]Row, []*leases.RowError, error) {
	if err := t.check(ctx); err != nil {
		return nil, nil, err
	}
	var rows []Row
	var damaged []*leases.RowError
	in := &dynamo.ScanInput{TableName: &t.name, ConsistentRead: aws.Bool(true)}
	for pages := (pageguard.Guard{}); ; {
		page, err := t.scan(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		for _, it := range page.Items {
			if r, bad := decodeItem(it); bad != nil {
				damaged = append(damaged, bad)
			} else {
				rows = append(rows, r)
			}
		}
		// More pages may follow an empty one.
		switch more, err := pages.Next("dynamodb:Scan", t.name, page.LastEvaluatedKey); {
		case err != nil:
			return nil, nil, err
		case !more:
			return rows, damaged, nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}

// scan reads one page. The page may be large, so its deadline counts silence.
func (t *DynamoDBTable) scan(ctx context.Context, in *dynamo.ScanInput) (*dynamo.ScanOutput, error) {
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := line.NewSilence(t.timeout, func() { cancel(context.DeadlineExceeded) })
	defer silence.Stop()
	out, err := t.client.Scan(silence.In(timed), in, t.read)
	return out, t.explain(ctx, timed, "dynamodb:Scan", err)
}

// decodeItem reads an item, whose attributes are all strings.
func decodeItem(it item) (Row, *leases.RowError) {
	fields := map[string]string{}
	var problems []error
	for _, name := range Fields {
		switch v := it[name].(type) {
		case nil:
		case *types.AttributeValueMemberS:
			fields[name] = v.Value
		default:
			problems = append(problems, fmt.Errorf("%s is %s, want a string (S)", name, describe(v)))
		}
	}
	r, bad := Decode(fields)
	if bad != nil {
		problems = append(problems, bad.Err)
	}
	if err := errors.Join(problems...); err != nil {
		return r, &leases.RowError{Key: r.ShardID, Err: err}
	}
	return r, nil
}

// describe returns the type of a value that is no string, and the value of a number.
func describe(v types.AttributeValue) string {
	if n, ok := v.(*types.AttributeValueMemberN); ok {
		return "N " + quote(n.Value)
	}
	return "of the type " + strings.TrimPrefix(fmt.Sprintf("%T", v), "*types.AttributeValueMember")
}

// Get returns one row as it is now. The error wraps [leases.ErrNotFound] when there is none, and is
// a [*leases.RowError] when it cannot be read.
func (t *DynamoDBTable) Get(ctx context.Context, shardID string) (Row, error) {
	out, err := call(ctx, t, "dynamodb:GetItem", t.client.GetItem, &dynamo.GetItemInput{
		TableName: &t.name, ConsistentRead: aws.Bool(true),
		Key: item{FieldShardID: &types.AttributeValueMemberS{Value: shardID}},
	}, t.read)
	switch {
	case err != nil:
		return Row{}, err
	case len(out.Item) == 0:
		return Row{}, fmt.Errorf("%w: %q in table %s", leases.ErrNotFound, shardID, t.name)
	}
	r, bad := decodeItem(out.Item)
	if bad != nil {
		return Row{}, bad
	}
	return r, nil
}

// Create makes a row. If a row with the shard id exists, that row stays as it is and is returned.
func (t *DynamoDBTable) Create(ctx context.Context, r Row) (existing *Row, err error) {
	it := item{}
	for name, value := range r.Encode() {
		it[name] = &types.AttributeValueMemberS{Value: value}
	}
	_, err = call(ctx, t, "dynamodb:PutItem", t.client.PutItem, &dynamo.PutItemInput{
		TableName: &t.name, Item: it,
		ConditionExpression:                 aws.String("attribute_not_exists(#key)"),
		ExpressionAttributeNames:            map[string]string{"#key": FieldShardID},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, t.write)
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return nil, err
	}
	if len(failed.Item) == 0 { // some servers do not return the item
		row, err := t.Get(ctx, r.ShardID)
		if err != nil {
			return nil, err
		}
		return &row, nil
	}
	row, bad := decodeItem(failed.Item)
	if bad != nil {
		return nil, bad
	}
	return &row, nil
}

// call makes one request with a deadline.
func call[In, Out any](
	ctx context.Context, t *DynamoDBTable, action string,
	fn func(context.Context, In, ...func(*dynamo.Options)) (Out, error), in In, option func(*dynamo.Options),
) (Out, error) {
	timed, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	out, err := fn(timed, in, option)
	return out, t.explain(ctx, timed, action, err)
}

// read sets the options of a read. The waits between its attempts fit into its deadline.
func (t *DynamoDBTable) read(o *dynamo.Options) {
	o.Retryer = awsretry.AddWithMaxBackoffDelay(o.Retryer, t.timeout/10)
	t.answer(o)
}

// write sets the options of a write. The SDK does not repeat it: an answer that is lost could look
// like a row that was there before.
func (t *DynamoDBTable) write(o *dynamo.Options) {
	o.Retryer = aws.NopRetryer{}
	t.answer(o)
}

// answer sets the options that all requests have.
func (t *DynamoDBTable) answer(o *dynamo.Options) {
	o.HTTPClient = t.http
	// DynamoDB Local sends wrong checksums, and the SDK logs a warning for each.
	o.DisableValidateResponseChecksum = o.DisableValidateResponseChecksum || o.BaseEndpoint != nil
}

// explain returns the error of a request, with the action, the table and the remedy.
func (t *DynamoDBTable) explain(ctx, timed context.Context, action string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s table %s: %w", action, t.name, context.Cause(ctx))
	case timed.Err() != nil:
		return fmt.Errorf("%s table %s: no answer in time after %v: %w", action, t.name, t.timeout, context.DeadlineExceeded)
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s: %s: %w", leases.ErrTableNotFound, action, t.name, err)
	}
	return awserr.Explain(err, action, "table "+t.name)
}
