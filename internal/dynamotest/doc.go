// Package dynamotest is a fake DynamoDB on the real wire (JSON 1.0), in memory:
// what the lease store needs, and no more. There is no KCL counterpart; the
// tests of leases/dynamodb, of the scheduler and of kclctl use it, through
// an SDK client made by internal/awstest.
//
// It runs inside a testing/synctest bubble: [Start] serves on a
// [memnet.Network], time is the bubble's, and nothing runs in the background.
//
// # What it models
//
//	CreateTable       CREATING for Config.SettleTime; ResourceInUseException when the table exists
//	DescribeTable     ResourceNotFoundException when it does not
//	UpdateTable       one secondary index (KEYS_ONLY) made, CREATING for Config.SettleTime, or deleted; deletion protection
//	DeleteTable       DELETING for Config.SettleTime; refused under deletion protection
//	PutItem           conditions; ReturnValues NONE, ALL_OLD
//	UpdateItem        SET #a = :v, REMOVE #a; conditions; upsert; ReturnValues NONE, ALL_OLD, ALL_NEW
//	DeleteItem        conditions; ReturnValues NONE, ALL_OLD
//	GetItem, Scan     ConsistentRead or up to Config.Lag behind; pages of 1 MB or Config.PageRows rows; segments
//	Query             of an index, #hash = :value, Config.IndexLag behind; refused while the index is CREATING
//	TransactWriteItems ConditionCheck, Put, Update, Delete in several tables, all or none; TransactionCanceledException
//	                  with a reason for each; one that is repeated with its token is applied once
//	continuous backups and tags: as far as creation of a table goes
//
// Expressions: #name = :value, AND, OR, NOT, parentheses, attribute_exists,
// attribute_not_exists. Attributes must be written as #name, because the fake
// does not know the service's reserved words. A failed condition answers with
// the old item when ReturnValuesOnConditionCheckFailure asks for it. Numbers
// come back without trailing zeros and exponent, as from the service. Sizes:
// 400 KB an item, 4 KB an expression. Anything else is a ValidationException, a
// SerializationException (an unknown parameter) or
// an UnknownOperationException that says what is missing.
package dynamotest
