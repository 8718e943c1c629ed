package dynamotest

import (
	"slices"
	"time"
)

// Parts of requests and answers, as on the wire.
type (
	keySchemaElement struct {
		AttributeName string
		KeyType       string
	}
	attributeDefinition struct {
		AttributeName string
		AttributeType string
	}
	throughput struct {
		ReadCapacityUnits  int64
		WriteCapacityUnits int64
	}
	globalIndex struct {
		IndexName             string
		KeySchema             []keySchemaElement
		Projection            struct{ ProjectionType string }
		ProvisionedThroughput *throughput `json:",omitempty"`
	}
	tag struct {
		Key   string
		Value string
	}
)

type createTableRequest struct {
	TableName                 string
	AttributeDefinitions      []attributeDefinition
	KeySchema                 []keySchemaElement
	BillingMode               string
	ProvisionedThroughput     *throughput
	DeletionProtectionEnabled bool
	Tags                      []tag
}

type tableRequest struct{ TableName string }

type indexDescription struct {
	globalIndex
	IndexStatus string
}

type tableDescription struct {
	TableName                 string
	TableArn                  string
	TableStatus               string
	CreationDateTime          float64
	AttributeDefinitions      []attributeDefinition
	KeySchema                 []keySchemaElement
	BillingModeSummary        *struct{ BillingMode string } `json:",omitempty"`
	ProvisionedThroughput     throughput
	GlobalSecondaryIndexes    []indexDescription `json:",omitempty"`
	DeletionProtectionEnabled bool
	ItemCount                 int
	TableSizeBytes            int64
	Replicas                  []replicaDescription `json:",omitempty"`
}

type replicaDescription struct{ RegionName, ReplicaStatus string }

func (t *table) describe(now time.Time) tableDescription {
	d := tableDescription{
		TableName:                 t.TableName,
		TableArn:                  t.arn,
		TableStatus:               t.status(now),
		CreationDateTime:          float64(t.created.UnixMilli()) / 1000,
		AttributeDefinitions:      t.AttributeDefinitions,
		KeySchema:                 t.KeySchema,
		DeletionProtectionEnabled: t.DeletionProtectionEnabled,
		ItemCount:                 len(t.rows),
	}
	for _, r := range t.rows {
		d.TableSizeBytes += int64(r.at(time.Time{}).size())
	}
	if t.BillingMode == "PAY_PER_REQUEST" {
		d.BillingModeSummary = &struct{ BillingMode string }{t.BillingMode}
	}
	if t.ProvisionedThroughput != nil {
		d.ProvisionedThroughput = *t.ProvisionedThroughput
	}
	for _, x := range t.indexes {
		status := "ACTIVE"
		if now.Before(x.readyAt) {
			status = "CREATING"
		}
		d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes,
			indexDescription{globalIndex: x.globalIndex, IndexStatus: status})
	}
	return d
}

// tableLocked returns a table in any state.
func (db *database) tableLocked(name string, now time.Time) (*table, *apiError) {
	t := db.tables[name]
	if t != nil && !t.goneAt.IsZero() && !now.Before(t.goneAt) {
		delete(db.tables, name)
		t = nil
	}
	if t == nil {
		return nil, noTable(name)
	}
	return t, nil
}

// readyLocked returns a table whose items can be used.
func (db *database) readyLocked(name string, now time.Time) (*table, *apiError) {
	t := db.tables[name]
	if t == nil || !t.goneAt.IsZero() || now.Before(t.readyAt) {
		return nil, notReady()
	}
	return t, nil
}

func (db *database) createTable(req createTableRequest, now time.Time) (any, *apiError) {
	if len(req.TableName) < 3 {
		return nil, validation("TableName must be at least 3 characters long and at most 255 characters long")
	}
	if _, err := db.tableLocked(req.TableName, now); err == nil {
		return nil, &apiError{code: "ResourceInUseException", message: "Table already exists: " + req.TableName}
	}
	if len(req.KeySchema) == 0 || len(req.KeySchema) > 2 || req.KeySchema[0].KeyType != "HASH" {
		return nil, validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	}
	if len(req.KeySchema) != len(req.AttributeDefinitions) {
		return nil, validation("One or more parameter values were invalid: Number of attributes in KeySchema does not " +
			"exactly match number of attributes defined in AttributeDefinitions")
	}
	switch {
	case req.BillingMode == "PAY_PER_REQUEST" && req.ProvisionedThroughput != nil:
		return nil, validation("One or more parameter values were invalid: Neither ReadCapacityUnits nor " +
			"WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case req.BillingMode != "PAY_PER_REQUEST" && req.ProvisionedThroughput == nil:
		return nil, validation("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must " +
			"both be specified when BillingMode is PROVISIONED")
	}
	t := &table{
		createTableRequest: req,
		arn:                "arn:aws:dynamodb:us-east-1:000000000000:table/" + req.TableName,
		created:            now,
		readyAt:            now.Add(db.cfg.SettleTime),
		lag:                max(db.cfg.Lag, db.cfg.IndexLag),
	}
	for _, k := range req.KeySchema {
		if t.attributeType(k.AttributeName) == "" {
			return nil, validation("One or more parameter values were invalid: Some index key attributes are not defined in " +
				"AttributeDefinitions. Keys: [" + k.AttributeName + "]")
		}
	}
	db.tables[req.TableName] = t
	return map[string]any{"TableDescription": t.describe(now)}, nil
}

func (db *database) describeTable(req tableRequest, now time.Time) (any, *apiError) {
	t, err := db.tableLocked(req.TableName, now)
	if err != nil {
		return nil, err
	}
	d := t.describe(now)
	for _, region := range db.cfg.Replicas {
		d.Replicas = append(d.Replicas, replicaDescription{region, "ACTIVE"})
	}
	if db.cfg.TableSize > 0 {
		d.TableSizeBytes = db.cfg.TableSize
	}
	return map[string]any{"Table": d}, nil
}

type updateTableRequest struct {
	TableName                   string
	AttributeDefinitions        []attributeDefinition
	DeletionProtectionEnabled   *bool
	GlobalSecondaryIndexUpdates []struct {
		Create *globalIndex
		Delete *struct{ IndexName string }
	}
}

func (db *database) updateTable(req updateTableRequest, now time.Time) (any, *apiError) {
	t, err := db.tableLocked(req.TableName, now)
	if err != nil {
		return nil, err
	}
	if t.status(now) != "ACTIVE" {
		return nil, &apiError{code: "ResourceInUseException", message: "Attempt to change a resource which is still in " +
			"use: Table is being updated: " + req.TableName}
	}
	if req.DeletionProtectionEnabled != nil {
		t.DeletionProtectionEnabled = *req.DeletionProtectionEnabled
	}
	if len(req.GlobalSecondaryIndexUpdates) > 1 {
		return nil, &apiError{code: "LimitExceededException", message: "Subscriber limit exceeded: Only 1 online index " +
			"can be created or deleted simultaneously per table"}
	}
	for _, u := range req.GlobalSecondaryIndexUpdates {
		switch {
		case u.Create != nil:
			if err := t.addIndex(*u.Create, req.AttributeDefinitions, now.Add(db.cfg.SettleTime)); err != nil {
				return nil, err
			}
		case u.Delete != nil:
			if t.index(u.Delete.IndexName) == nil {
				return nil, &apiError{code: "ResourceNotFoundException", message: "Requested resource not found"}
			}
			t.indexes = slices.DeleteFunc(t.indexes, func(x *index) bool { return x.IndexName == u.Delete.IndexName })
		}
	}
	return map[string]any{"TableDescription": t.describe(now)}, nil
}

func (db *database) deleteTable(req tableRequest, now time.Time) (any, *apiError) {
	t, err := db.tableLocked(req.TableName, now)
	if err != nil {
		return nil, err
	}
	if t.status(now) != "ACTIVE" {
		return nil, &apiError{code: "ResourceInUseException", message: "Attempt to change a resource which is still in " +
			"use: Table: " + req.TableName}
	}
	if t.DeletionProtectionEnabled {
		return nil, validation("Resource cannot be deleted as it is currently protected against deletion. Disable " +
			"deletion protection first.")
	}
	t.goneAt = now.Add(db.cfg.SettleTime)
	return map[string]any{"TableDescription": t.describe(now)}, nil
}

type continuousBackupsRequest struct {
	TableName                        string
	PointInTimeRecoverySpecification struct{ PointInTimeRecoveryEnabled bool }
}

func (db *database) updateContinuousBackups(req continuousBackupsRequest, now time.Time) (any, *apiError) {
	t, err := db.backupTableLocked(req.TableName, now)
	if err != nil {
		return nil, err
	}
	t.pitr = req.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
	return t.backups(), nil
}

func (db *database) describeContinuousBackups(req tableRequest, now time.Time) (any, *apiError) {
	t, err := db.backupTableLocked(req.TableName, now)
	if err != nil {
		return nil, err
	}
	return t.backups(), nil
}

func (db *database) backupTableLocked(name string, now time.Time) (*table, *apiError) {
	t, err := db.tableLocked(name, now)
	if err != nil {
		return nil, &apiError{code: "TableNotFoundException", message: "Table not found: " + name}
	}
	if now.Before(t.readyAt) {
		return nil, &apiError{
			code:    "ContinuousBackupsUnavailableException",
			message: "Backups are being enabled for the table: " + name + ". Please retry later",
		}
	}
	return t, nil
}

func (t *table) backups() any {
	status := "DISABLED"
	if t.pitr {
		status = "ENABLED"
	}
	return map[string]any{"ContinuousBackupsDescription": map[string]any{
		"ContinuousBackupsStatus":        "ENABLED",
		"PointInTimeRecoveryDescription": map[string]any{"PointInTimeRecoveryStatus": status},
	}}
}

func (db *database) listTagsOfResource(req struct{ ResourceArn string }, _ time.Time) (any, *apiError) {
	for _, t := range db.tables {
		if t.arn == req.ResourceArn {
			return map[string]any{"Tags": append([]tag{}, t.Tags...)}, nil
		}
	}
	return nil, noTable(req.ResourceArn)
}
