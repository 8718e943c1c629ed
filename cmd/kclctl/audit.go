package main

import (
	"context"
	"flag"
	"slices"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/audit"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

var auditCommand = command{
	name: "audit", summary: "look for holes, overlaps and damaged rows",
	help: `Checks the table as a whole, and writes nothing:

  bad-row         a row cannot be read
  hole            no unfinished lease covers a part of the hash keys: nobody reads the
                  records there. During a reshard this can be so for a moment
  overlap         two unfinished leases cover the same hash keys, and neither waits for
                  its parents
  missing-child   a finished lease names a child that has no lease
  order           a child has been read although its parent is not finished
  stream-mix      the leases are for one stream and for several, or have different
                  creation times
  hand-over       a lease is being handed over from a worker to itself
  empty           there is not a single row

Audit asks Kinesis when the leases or -stream name the stream. Where Kinesis was not asked
or did not answer, a note says so (not-asked). With its answer audit also finds:

  stream-gone     there is no such stream
  re-created      the leases are of an earlier stream of the same name
  other-stream    Kinesis lists none of the shards
  not-listed      a lease is unfinished, and its shard was trimmed
  not-ended       a lease is finished, and its shard is open
  out-of-range    a checkpoint is not of the shard
  missing-lease   a shard has no lease, and waits for no other shard
  missing-parent  a lease that has not been read waits for a shard without a lease

Notes are worth knowing, and normal in many tables. They are no findings:

  missing-parent  a lease that has not been read names a parent that has no lease, and
                  Kinesis was not asked: the parent was trimmed, or its lease was deleted
                  by hand before it was read
  no-hash-keys    leases do not say which hash keys they cover, so holes cannot be seen
  no-stream       leases do not say when their stream was created, because other libraries
                  do not write it. A stream that was created again is not noticed

The exit status is 1 if there are findings.

Examples:
  kclctl leases audit -table orders
  kclctl leases audit -table orders -stream orders
  kclctl leases audit -table orders -json | jq -r '.findings[].kind'`,
	setup: func(flags *flag.FlagSet) action {
		var src source
		src.register(flags)
		src.registerKinesis(flags)
		stream := flags.String("stream", "", "`name` or ARN of the stream, if the leases do not name it")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if err := wholeTable("audit", args); err != nil {
				return err
			}
			_, listing, err := src.read(ctx, t)
			if err != nil {
				return err
			}
			answers, err := src.askAll(ctx, listing.Leases, *stream)
			if err != nil {
				return err
			}
			return printAudit(t, &src, listing, answers)
		}
	},
}

// auditReport is what audit prints, in JSON.
type auditReport struct {
	Table    string          `json:"table"`
	Leases   int             `json:"leases"`
	Asked    []string        `json:"asked"` // the streams that Kinesis answered about
	Findings []audit.Finding `json:"findings"`
	Notes    []audit.Finding `json:"notes"`
}

func printAudit(t *terminal.Terminal, src *source, listing leases.Listing, answers map[string]audit.Answer) error {
	findings, notes := audit.Judge(listing, answers)
	rows := len(listing.Leases) + len(listing.Bad)
	if rows == 0 {
		findings = append(findings, audit.Finding{Kind: "empty", Keys: []string{}, Text: errEmpty.Error()})
	}
	asked := []string{}
	for _, answer := range answers {
		if answer.Silent == "" {
			asked = append(asked, answer.Name)
		}
	}
	slices.Sort(asked)
	if src.json {
		err := t.JSON(auditReport{
			Table: src.name(), Leases: len(listing.Leases), Asked: asked,
			Findings: append([]audit.Finding{}, findings...), Notes: append([]audit.Finding{}, notes...),
		})
		if err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			t.Line("%s: %s", f.Kind, f.Text)
		}
		for _, f := range notes {
			t.Line("note: %s: %s", f.Kind, f.Text)
		}
		with := ""
		switch len(asked) {
		case 0:
			with = ", without Kinesis"
		case len(answers):
			with = " with Kinesis"
		}
		t.Line("%s audited%s: %s", view.Plural(rows, "row"), with, view.Plural(len(findings), "finding"))
	}
	if len(findings) > 0 {
		return terminal.ErrReported
	}
	return nil
}
