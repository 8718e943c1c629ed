package dynamotest

import (
	"maps"
	"math"
	"strings"
	"time"
)

const (
	maxItemSize = 400 << 10
	maxPageSize = 1 << 20
)

type itemRequest struct {
	TableName                           string
	Key                                 Item
	Item                                Item
	ConsistentRead                      bool
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
	expressions
	legacy
}

// parse returns a condition, which is never nil without an error, and the changes. A request has
// expressions or the older parameters.
func (r itemRequest) parse() (condition, []change, *apiError) {
	older, newer := r.legacy.given(), r.expressions.given()
	if len(older) > 0 && len(newer) > 0 {
		return nil, nil, validationf("Can not use both expression and non-expression parameters in the same request: "+
			"Non-expression parameters: {%s} Expression parameters: {%s}", strings.Join(older, ", "), strings.Join(newer, ", "))
	}
	cond, changes, err := r.expressions.parse()
	if err != nil || len(older) == 0 {
		return cond, changes, err
	}
	if cond, err = r.legacy.condition(); err == nil {
		changes, err = r.legacy.changes()
	}
	return cond, changes, err
}

// check evaluates the condition of a write on the item in the table.
func (r itemRequest) check(cond condition, old Item) *apiError {
	if cond(old) {
		return nil
	}
	err := &apiError{code: "ConditionalCheckFailedException", message: "The conditional request failed"}
	if r.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
		err.item = old
	}
	return err
}

func (r itemRequest) answer(old, fresh Item) any {
	switch {
	case r.ReturnValues == "ALL_OLD" && old != nil:
		return map[string]any{"Attributes": old}
	case r.ReturnValues == "ALL_NEW":
		return map[string]any{"Attributes": fresh}
	}
	return struct{}{}
}

// fits tells whether the table accepts an item.
func (t *table) fits(item Item) *apiError {
	if item.size() > maxItemSize {
		return validation("Item size has exceeded the maximum allowed size")
	}
	return t.fitsIndexes(item)
}

func (db *database) putItem(r itemRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	key, err := t.key(r.Item)
	if err != nil {
		return nil, err
	}
	if err := t.fits(r.Item); err != nil {
		return nil, err
	}
	cond, _, err := r.parse()
	if err != nil {
		return nil, err
	}
	p := placeOf(key)
	old := t.get(p, time.Time{})
	if err := r.check(cond, old); err != nil {
		return nil, err
	}
	db.put(t, p, r.Item, now)
	return r.answer(old, nil), nil
}

// updated returns old with its changes. If there is no old item, it makes one.
func updated(key, old Item, changes []change) (Item, *apiError) {
	fresh := maps.Clone(key)
	maps.Copy(fresh, old)
	for _, c := range changes {
		if _, ok := key[c.attribute]; ok {
			return nil, validationf("One or more parameter values were invalid: Cannot update attribute %s. This attribute "+
				"is part of the key", c.attribute)
		}
		if err := c.apply(fresh); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

func (db *database) updateItem(r itemRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	key, err := t.exactKey(r.Key)
	if err != nil {
		return nil, err
	}
	cond, changes, err := r.parse()
	if err != nil {
		return nil, err
	}
	p := placeOf(key)
	old := t.get(p, time.Time{})
	if err := r.check(cond, old); err != nil {
		return nil, err
	}
	fresh, err := updated(key, old, changes)
	if err != nil {
		return nil, err
	}
	if fresh.size() > maxItemSize {
		return nil, validation("Item size to update has exceeded the maximum allowed size")
	}
	if err := t.fitsIndexes(fresh); err != nil {
		return nil, err
	}
	db.put(t, p, fresh, now)
	return r.answer(old, fresh), nil
}

func (db *database) deleteItem(r itemRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	key, err := t.exactKey(r.Key)
	if err != nil {
		return nil, err
	}
	cond, _, err := r.parse()
	if err != nil {
		return nil, err
	}
	p := placeOf(key)
	old := t.get(p, time.Time{})
	if err := r.check(cond, old); err != nil {
		return nil, err
	}
	db.put(t, p, nil, now)
	return r.answer(old, nil), nil
}

// asOf is the time whose rows an eventually consistent read returns.
func (db *database) asOf(consistent bool, now time.Time) time.Time {
	if consistent || db.cfg.Lag <= 0 {
		return time.Time{}
	}
	return now.Add(-db.cfg.Lag)
}

func (db *database) getItem(r itemRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	key, err := t.exactKey(r.Key)
	if err != nil {
		return nil, err
	}
	item := t.get(placeOf(key), db.asOf(r.ConsistentRead, now))
	if item == nil {
		return struct{}{}, nil
	}
	return map[string]any{"Item": item}, nil
}

type scanRequest struct {
	TableName         string
	ConsistentRead    bool
	Limit             *int
	ExclusiveStartKey Item
	Segment           *int
	TotalSegments     *int
}

type scanAnswer struct {
	Items            []Item
	Count            int
	ScannedCount     int
	LastEvaluatedKey Item `json:",omitempty"`
}

// pageRows is the most rows of a page for a request with that limit.
func (db *database) pageRows(limit *int) (int, *apiError) {
	rows := math.MaxInt
	if limit != nil {
		rows = *limit
	}
	if rows < 1 {
		return 0, validation("1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must " +
			"have value greater than or equal to 1")
	}
	if db.cfg.PageRows > 0 {
		rows = min(rows, db.cfg.PageRows)
	}
	return rows, nil
}

func (db *database) scan(r scanRequest, now time.Time) (any, *apiError) {
	t, err := db.readyLocked(r.TableName, now)
	if err != nil {
		return nil, err
	}
	segment, segments := 0, 1
	if r.Segment != nil || r.TotalSegments != nil {
		if r.Segment == nil || r.TotalSegments == nil || *r.Segment < 0 || *r.Segment >= *r.TotalSegments {
			return nil, validation("The Segment parameter is required, zero-based and less than parameter TotalSegments")
		}
		segment, segments = *r.Segment, *r.TotalSegments
	}
	limit, err := db.pageRows(r.Limit)
	if err != nil {
		return nil, err
	}
	i := 0
	if len(r.ExclusiveStartKey) > 0 {
		key, err := t.exactKey(r.ExclusiveStartKey)
		if err != nil {
			return nil, validation("The provided starting key is invalid")
		}
		t.scans++
		if db.cfg.EmptyPages && t.scans%2 == 1 {
			return scanAnswer{Items: []Item{}, LastEvaluatedKey: key}, nil
		}
		var found bool
		if i, found = t.find(placeOf(key)); found {
			i++
		}
	}
	answer := scanAnswer{Items: []Item{}}
	asOf, size := db.asOf(r.ConsistentRead, now), 0
	for ; i < len(t.rows); i++ {
		row := t.rows[i]
		item := row.at(asOf)
		if item == nil || int(uint64(row.place.hash)*uint64(segments)>>32) != segment {
			continue
		}
		answer.Items = append(answer.Items, item)
		size += item.size()
		if len(answer.Items) >= limit || size >= maxPageSize {
			if answer.LastEvaluatedKey, err = t.key(item); err != nil {
				return nil, err
			}
			break
		}
	}
	answer.Count, answer.ScannedCount = len(answer.Items), len(answer.Items)
	return answer, nil
}
