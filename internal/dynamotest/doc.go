// Package dynamotest is a fake DynamoDB in memory, on the real wire (JSON 1.0). It has what the
// lease store and the Java KCL 2.7.2 and 3.1.3 need, and no more. There is no KCL counterpart. The
// tests of leases/dynamodb, of the scheduler and of kclctl use it, with an SDK client of
// internal/awstest. Command kinesisfake serves it to other programs.
//
// It runs inside a testing/synctest bubble. [Start] serves on a [memnet.Network], the time is the
// bubble's, and nothing runs in the background.
//
// # What it models
//
//	CreateTable       CREATING for Config.SettleTime; ResourceInUseException when the table exists
//	DescribeTable     ResourceNotFoundException when it does not
//	UpdateTable       deletion protection; one secondary index (KEYS_ONLY) deleted or made, CREATING
//	                  for Config.SettleTime
//	DeleteTable       DELETING for Config.SettleTime; refused under deletion protection
//	PutItem           conditions; ReturnValues NONE, ALL_OLD
//	UpdateItem        SET #a = :v, REMOVE #a; conditions; upsert; ReturnValues NONE, ALL_OLD, ALL_NEW
//	DeleteItem        conditions; ReturnValues NONE, ALL_OLD
//	GetItem, Scan     ConsistentRead or up to Config.Lag behind; segments; pages of 1 MB or
//	                  Config.PageRows rows
//	Query             of an index, #hash = :value, Config.IndexLag behind; refused while the index is
//	                  CREATING
//	TransactWriteItems ConditionCheck, Put, Update, Delete in several tables, all or none;
//	                  TransactionCanceledException with a reason for each; a transaction that is
//	                  repeated with its token is applied once
//	continuous backups and tags: as far as creation of a table goes
//
// Expressions: #name = :value, AND, OR, NOT, parentheses, attribute_exists, attribute_not_exists.
// Attributes must be written as #name, because the fake does not know the service's reserved words.
// leaseOwner may stand as it is, since the Java KCL writes it so.
//
// PutItem, UpdateItem and DeleteItem know the parameters that are older than expressions, because
// the Java KCL uses them: Expected with Value, Exists and every ComparisonOperator;
// ConditionalOperator; AttributeUpdates with PUT, ADD and DELETE. A request has either expressions
// or these parameters.
//
// A failed condition answers with the old item if ReturnValuesOnConditionCheckFailure asks for it.
// Numbers come back without trailing zeros and exponent, as from the service. An item may have 400
// KB, and an expression 4 KB. Anything else is refused, with a text that says what is missing: a
// ValidationException, a SerializationException (an unknown parameter) or an
// UnknownOperationException.
package dynamotest
