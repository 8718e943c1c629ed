package dynamotest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// index is a global secondary index. It keeps no rows: a query searches the rows of its table.
type index struct {
	globalIndex
	readyAt time.Time // ACTIVE from then on
}

func (t *table) index(name string) *index {
	for _, x := range t.indexes {
		if x.IndexName == name {
			return x
		}
	}
	return nil
}

func (t *table) addIndex(x globalIndex, attributes []attributeDefinition, readyAt time.Time) *apiError {
	switch {
	case t.index(x.IndexName) != nil:
		return validation("One or more parameter values were invalid: Duplicate index name: " + x.IndexName)
	case len(x.KeySchema) == 0 || len(x.KeySchema) > 2 || x.KeySchema[0].KeyType != "HASH":
		return validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	case x.Projection.ProjectionType != "KEYS_ONLY":
		return validation("dynamotest knows indexes of the projection KEYS_ONLY only")
	case t.BillingMode == "PAY_PER_REQUEST" && x.ProvisionedThroughput != nil:
		return validation(
			"One or more parameter values were invalid: ProvisionedThroughput should not be specified for index: " +
				x.IndexName + " when BillingMode is PAY_PER_REQUEST",
		)
	case t.BillingMode != "PAY_PER_REQUEST" && x.ProvisionedThroughput == nil:
		return validation(
			"One or more parameter values were invalid: ProvisionedThroughput must be specified for index: " + x.IndexName)
	}
	types := map[string]string{}
	for _, a := range slices.Concat(t.AttributeDefinitions, attributes) {
		types[a.AttributeName] = a.AttributeType
	}
	for _, k := range x.KeySchema {
		if types[k.AttributeName] == "" {
			return validation("One or more parameter values were invalid: Some index key attributes are not defined in " +
				"AttributeDefinitions. Keys: [" + k.AttributeName + "]")
		}
	}
	for _, a := range attributes {
		if t.attributeType(a.AttributeName) == "" {
			t.AttributeDefinitions = append(t.AttributeDefinitions, a)
		}
	}
	t.indexes = append(t.indexes, &index{globalIndex: x, readyAt: readyAt})
	return nil
}

// fitsIndexes refuses items that an index cannot hold. Items without the keys of an index are
// allowed; they are not in the index.
func (t *table) fitsIndexes(item Item) *apiError {
	for _, x := range t.indexes {
		for _, k := range x.KeySchema {
			v, ok := item[k.AttributeName]
			switch want := t.attributeType(k.AttributeName); {
			case !ok:
			case v.Type != want:
				return validationf("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s "+
					"Actual: %s IndexName: %s", k.AttributeName, want, v.Type, x.IndexName)
			case v.Text == "":
				return validationf("One or more parameter values are not valid. A value specified for a secondary index key is "+
					"not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, "+
					"IndexKey: %s", x.IndexName, k.AttributeName)
			}
		}
	}
	return nil
}

// indexed returns the attributes that the index projects. It returns nil for an item that is not in
// the index.
func (t *table) indexed(x *index, item Item) Item {
	out := Item{}
	for _, k := range x.KeySchema {
		v, ok := item[k.AttributeName]
		if !ok || v.Type != t.attributeType(k.AttributeName) {
			return nil
		}
		out[k.AttributeName] = v
	}
	for _, k := range t.KeySchema {
		out[k.AttributeName] = item[k.AttributeName]
	}
	return out
}

type queryRequest struct {
	TableName                 string
	IndexName                 string
	ConsistentRead            bool
	Limit                     *int
	ExclusiveStartKey         Item
	KeyConditionExpression    *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues Item
}

// query answers a query of an index: the rows with one hash key, in the order of the range key.
func (db *database) query(r queryRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	if r.IndexName == "" {
		return nil, validation("dynamotest knows queries of an index only")
	}
	x := t.index(r.IndexName)
	limit, err := db.pageRows(r.Limit)
	switch {
	case x == nil:
		return nil, validation("The table does not have the specified index: " + r.IndexName)
	case now.Before(x.readyAt):
		return nil, validation("Cannot read from backfilling global secondary index: " + r.IndexName)
	case r.ConsistentRead:
		return nil, validation("Consistent reads are not supported on global secondary indexes")
	case err != nil:
		return nil, err
	case r.KeyConditionExpression == nil:
		return nil, validation(
			"Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	hash := x.KeySchema[0].AttributeName
	want, err := r.hashKey(hash)
	if err != nil {
		return nil, err
	}
	switch {
	case want.Type != t.attributeType(hash):
		return nil, validation(
			"One or more parameter values were invalid: Condition parameter type does not match schema type")
	case want.Text == "":
		return nil, validationf("One or more parameter values are not valid. A value specified for a secondary index key "+
			"is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, "+
			"IndexKey: %s", x.IndexName, hash)
	}
	asOf := db.asOf(false, now)
	if db.cfg.IndexLag > 0 {
		asOf = now.Add(-db.cfg.IndexLag)
	}
	var found []Item
	for _, row := range t.rows {
		if item := row.at(asOf); item != nil {
			if keys := t.indexed(x, item); keys != nil && keys[hash].same(want) {
				found = append(found, keys)
			}
		}
	}
	order := func(a, b Item) int {
		var c int
		for _, k := range slices.Concat(x.KeySchema[1:], t.KeySchema) {
			c = cmp.Or(c, strings.Compare(a[k.AttributeName].Text, b[k.AttributeName].Text))
		}
		return c
	}
	slices.SortFunc(found, order)
	if len(r.ExclusiveStartKey) > 0 {
		start := t.indexed(x, r.ExclusiveStartKey)
		if start == nil || len(start) != len(r.ExclusiveStartKey) || !start[hash].same(want) {
			return nil, validation("The provided starting key is invalid")
		}
		i, there := slices.BinarySearchFunc(found, start, order)
		if there {
			i++
		}
		found = found[i:]
	}
	answer := scanAnswer{Items: []Item{}}
	size := 0
	for _, keys := range found {
		answer.Items = append(answer.Items, keys)
		if size += keys.size(); len(answer.Items) >= limit || size >= maxPageSize {
			answer.LastEvaluatedKey = keys
			break
		}
	}
	answer.Count, answer.ScannedCount = len(answer.Items), len(answer.Items)
	return answer, nil
}

// hashKey returns the value of the condition #hash = :value.
func (r queryRequest) hashKey(hash string) (Value, *apiError) {
	e := expressions{
		ConditionExpression:       r.KeyConditionExpression,
		ExpressionAttributeNames:  r.ExpressionAttributeNames,
		ExpressionAttributeValues: r.ExpressionAttributeValues,
	}
	if _, _, err := e.parse(); err != nil {
		return Value{}, err
	}
	t, err := tokens("KeyConditionExpression", *r.KeyConditionExpression)
	if err != nil {
		return Value{}, err
	}
	named := func(token string) bool { return token == hash || r.ExpressionAttributeNames[token] == hash }
	if len(t) != 3 || t[1] != "=" || !named(t[0]) {
		return Value{}, validation("Query condition missed key schema element: " + hash + " (dynamotest knows the " +
			"condition #hash = :value only)")
	}
	return r.ExpressionAttributeValues[t[2]], nil
}
