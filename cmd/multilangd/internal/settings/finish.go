package settings

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

// finish interprets the values that belong together, and looks for required keys.
func (r *reader) finish() {
	d := r.draft
	if r.absent("executableName") {
		r.missing("executableName", "give the command of a child, such as executableName = python3 app.py")
	}
	if r.absent("applicationName") {
		r.missing("applicationName", "name the group of workers that share the work")
	}
	if !d.dynamoDBCredentials {
		d.DynamoDB.Credentials = d.Kinesis.Credentials
	}
	r.retrieval()
	r.streams()
	r.tables()
	d.Scheduler.ShutdownTimeout = cmp.Or(d.ShutdownGrace, d.handOver)
}

// absent tells whether a key was not given, not even with a bad value.
func (r *reader) absent(key string) bool { return r.line[key] == 0 }

// retrieval applies the rule of retrievalMode DEFAULT.
func (r *reader) retrieval() {
	d := r.draft
	if d.mode == modePolling || d.mode == modeDefault && d.polling {
		d.Scheduler.RetrievalMode = scheduler.Polling
		if d.consumerARN != "" {
			r.bad("fanoutConfig.consumerArn", d.consumerARN,
				errors.New("polling uses no stream consumer: set retrievalMode = FANOUT, or leave the key out"))
		}
	}
}

// streams makes the list of streams.
func (r *reader) streams() {
	d := r.draft
	position := kcl.InitialPosition{Kind: d.position}
	if !d.since.IsZero() {
		position = kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: d.since}
		if !r.absent("initialPositionInStream") {
			r.report.WithoutEffect = append(r.report.WithoutEffect,
				WithoutEffect{"initialPositionInStream", "initialPositionInStreamExtended replaces it"})
		}
	}
	add := func(name, arn string) {
		d.Scheduler.Streams = append(d.Scheduler.Streams, scheduler.StreamConfig{
			Name: name, ARN: arn, InitialPosition: position, ConsumerName: d.consumerName, ConsumerARN: d.consumerARN,
		})
	}
	several := len(d.streamNames) + len(d.streamARNs)
	switch {
	case several > 0:
		for _, key := range []string{"streamName", "streamArn"} {
			if !r.absent(key) {
				r.bad(key, "", errors.New("streamNames or streamArns is given too: name all streams there, and leave this key out"))
			}
		}
		for _, name := range d.streamNames {
			add(name, "")
		}
		for _, arn := range d.streamARNs {
			add("", arn)
			if name := nameOf(arn); slices.Contains(d.streamNames, name) {
				r.bad("streamArns", arn, fmt.Errorf("is the stream %s of streamNames: name it once", name))
			}
		}
	case d.streamARN != "":
		add("", d.streamARN)
		if !r.absent("streamName") && nameOf(d.streamARN) != d.streamName {
			r.report.WithoutEffect = append(r.report.WithoutEffect, WithoutEffect{"streamName", "streamArn replaces it"})
		}
	case d.streamName != "":
		add(d.streamName, "")
	case r.absent("streamName") && r.absent("streamArn") && r.absent("streamNames") && r.absent("streamArns"):
		r.missing("streamName", "name the stream to read, by streamName or streamArn")
	}
	r.regions()
	if d.consumerARN != "" {
		r.consumer()
	}
}

// nameOf returns the name of the stream in a valid ARN.
func nameOf(arn string) string {
	_, name, _ := strings.Cut(arn, "stream/")
	return name
}

// consumer compares the ARN of the stream consumer with the stream and with the other name.
func (r *reader) consumer() {
	const key = "fanoutConfig.consumerArn"
	d := r.draft
	arn, name, err := kcl.ParseConsumerARN(d.consumerARN)
	if err != nil {
		return // reported already
	}
	if len(d.Scheduler.Streams) > 1 {
		r.bad(key, d.consumerARN,
			errors.New("a consumer belongs to one stream: leave the key out, and give fanoutConfig.consumerName"))
		return
	}
	for _, s := range d.Scheduler.Streams {
		if s.ARN != "" && s.ARN != arn || s.Name != "" && s.Name != nameOf(arn) {
			r.bad(key, d.consumerARN, fmt.Errorf("is a consumer of another stream than %s: correct one of them",
				cmp.Or(s.ARN, s.Name)))
		}
	}
	if d.consumerName != "" && d.consumerName != name {
		r.bad(key, d.consumerARN, fmt.Errorf("is not the consumer %s of fanoutConfig.consumerName: leave one of them out",
			d.consumerName))
	}
}

// regions compares the region of the client with those of the ARNs, and takes it from there if it
// is not given.
func (r *reader) regions() {
	d := r.draft
	for _, s := range d.Scheduler.Streams {
		if s.ARN == "" {
			continue
		}
		region := strings.Split(s.ARN, ":")[3]
		switch configured := cmp.Or(d.Kinesis.Region, d.Region); {
		case configured == "":
			d.Region = region
		case configured != region:
			key := "streamArn"
			if r.absent(key) {
				key = "streamArns"
			}
			r.bad(key, s.ARN, fmt.Errorf("is in region %s, and the client is in %s: set regionName = %s",
				region, configured, region))
		}
	}
}

// tables checks the names of the tables.
func (r *reader) tables() {
	d := r.draft
	application := d.Scheduler.Application
	if d.Table.Table == "" && r.absent("tableName") {
		d.Table.Table = application
		if application != "" && validTable(application) != nil {
			r.bad("applicationName", application, fmt.Errorf("is the name of the lease table too, and %w; "+
				"or set tableName", validTable(application)))
		}
	}
	for _, side := range []struct{ key, name string }{
		{"coordinatorStateTableName", d.Table.CoordinatorTable},
		{"workerMetricsTableName", d.Table.WorkerMetricsTable},
	} {
		if side.name != "" && side.name == d.Table.Table {
			r.bad(side.key, side.name, errors.New("is the lease table: name another table, or leave the key out"))
		}
	}
	if s := d.Table.CoordinatorTable; s != "" && s == d.Table.WorkerMetricsTable {
		r.bad("workerMetricsTableName", s, errors.New("is coordinatorStateTableName too: name two tables"))
	}
}
