package dynamotest

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// maxTransaction is the most operations of one transaction.
const maxTransaction = 100

// tokenLife is how long the fake remembers the client request token of a transaction.
const tokenLife = 10 * time.Minute

// spent is the use of a client request token.
type spent struct {
	at    time.Time
	items string
}

// reason says why a transaction was cancelled. Code is None for operations that would have
// succeeded.
type reason struct {
	Code    string
	Message string `json:",omitempty"`
	Item    Item   `json:",omitempty"`
}

// transactItem is one operation. Exactly one of its fields is set.
type transactItem struct {
	ConditionCheck *itemRequest `json:",omitempty"`
	Put            *itemRequest `json:",omitempty"`
	Delete         *itemRequest `json:",omitempty"`
	Update         *itemRequest `json:",omitempty"`
}

type transactRequest struct {
	TransactItems      []transactItem
	ClientRequestToken string
}

// transactWriteItems applies all of the operations or none. A transaction whose token was used in
// the last ten minutes has been applied already.
func (db *database) transactWriteItems(r transactRequest, now time.Time) (any, *apiError) {
	if n := len(r.TransactItems); n == 0 || n > maxTransaction {
		return nil, validationf("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "+
			"Member must have length between 1 and %d", maxTransaction)
	}
	b, err := json.Marshal(r.TransactItems)
	if err != nil {
		return nil, validation(err.Error())
	}
	if done, ok := db.tokens[r.ClientRequestToken]; ok && now.Sub(done.at) < tokenLife {
		if done.items != string(b) {
			return nil, &apiError{code: "IdempotentParameterMismatchException", message: "The request uses the same client " +
				"token as a previous, but non-identical request."}
		}
		return struct{}{}, nil
	}
	type step struct {
		table *table
		place place
		fresh Item
		write bool
	}
	var steps []step
	seen := map[string]bool{}
	reasons := make([]reason, len(r.TransactItems))
	cancelled := false
	for i, it := range r.TransactItems {
		kind, op, err := it.operation()
		if err != nil {
			return nil, err
		}
		t, err := db.readyLocked(op.TableName, now)
		if err != nil {
			return nil, err
		}
		key, err := t.exactKey(op.Key)
		if kind == "Put" {
			key, err = t.key(op.Item)
		}
		if err != nil {
			return nil, err
		}
		cond, changes, err := op.parse()
		if err != nil {
			return nil, err
		}
		p := placeOf(key)
		if seen[op.TableName+"\x00"+p.key] {
			return nil, validation("Transaction request cannot include multiple operations on one item")
		}
		seen[op.TableName+"\x00"+p.key] = true
		old := t.get(p, time.Time{})
		st := step{table: t, place: p, write: kind != "ConditionCheck"}
		switch kind {
		case "Put":
			st.fresh = op.Item
		case "Update":
			if st.fresh, err = updated(key, old, changes); err != nil {
				return nil, err
			}
		}
		reasons[i] = reason{Code: "None"}
		if failed := op.check(cond, old); failed != nil {
			cancelled = true
			reasons[i] = reason{Code: "ConditionalCheckFailed", Message: failed.message, Item: failed.item}
		} else if failed := t.fits(st.fresh); failed != nil {
			cancelled = true
			reasons[i] = reason{Code: "ValidationError", Message: failed.message}
		}
		steps = append(steps, st)
	}
	if cancelled {
		return nil, cancellation(reasons)
	}
	for _, st := range steps {
		if st.write {
			db.put(st.table, st.place, st.fresh, now)
		}
	}
	if r.ClientRequestToken != "" {
		maps.DeleteFunc(db.tokens, func(_ string, d spent) bool { return now.Sub(d.at) >= tokenLife })
		db.tokens[r.ClientRequestToken] = spent{at: now, items: string(b)}
	}
	return struct{}{}, nil
}

func cancellation(reasons []reason) *apiError {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	return &apiError{
		code:    "TransactionCanceledException",
		reasons: reasons,
		message: "Transaction cancelled, please refer cancellation reasons for specific reasons [" +
			strings.Join(codes, ", ") + "]",
	}
}

func (it transactItem) operation() (kind string, op itemRequest, err *apiError) {
	n := 0
	for name, o := range map[string]*itemRequest{
		"ConditionCheck": it.ConditionCheck, "Put": it.Put, "Delete": it.Delete, "Update": it.Update,
	} {
		if o != nil {
			kind, op = name, *o
			n++
		}
	}
	switch {
	case n != 1:
		return "", op, validation("TransactItems can only contain one of Check, Put, Update or Delete")
	case op.ReturnValues != "" || op.ConsistentRead || len(op.legacy.given()) > 0:
		return "", op, &apiError{
			code:    "SerializationException",
			message: fmt.Sprintf("%s of a transaction has no such parameter", kind),
		}
	case kind == "ConditionCheck" && op.ConditionExpression == nil:
		return "", op, validation("The expression can not be empty;")
	case kind == "Update" && op.UpdateExpression == nil:
		return "", op, validation("The expression can not be empty;")
	}
	return kind, op, nil
}
