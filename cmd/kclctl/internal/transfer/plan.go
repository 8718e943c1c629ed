// Package transfer copies checkpoints between lease tables and tables of go-kcl, the layout of
// vmware-go-kcl and its forks.
//
// A plan decides about every row before anything is written. It is carried out row by row: rows are
// only created, never overwritten, and each is read back.
package transfer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

// Table is a table of go-kcl, in any store.
type Table interface {
	Init(ctx context.Context) error
	List(ctx context.Context) ([]gokcl.Row, []*leases.RowError, error)
	Get(ctx context.Context, shardID string) (gokcl.Row, error)
	Create(ctx context.Context, r gokcl.Row) (existing *gokcl.Row, err error)
}

// What a plan does with a row.
const (
	actionCreate = "create"
	actionSame   = "already there"
	actionDiffer = "differs"
	actionLeave  = "left out"
)

// Row is one row to copy, in JSON too.
type Row struct {
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"`
	Action     string `json:"action"`
	Note       string `json:"note,omitempty"`
	// Done means that the row is in the other table, and was read back without a difference.
	Done  bool   `json:"done"`
	Error string `json:"error,omitempty"`

	lease  leases.Lease // the row that an import writes
	row    gokcl.Row    // the row that an export writes
	create func(context.Context) error
	verify func(context.Context) error
}

// Plan is all that a command will do, in JSON too. It is for one goroutine.
type Plan struct {
	From string        `json:"from"`
	To   string        `json:"to"`
	Rows []Row         `json:"rows"`
	Bad  []view.BadRow `json:"bad"`
	// Refused lists the reasons why nothing may be written.
	Refused []string `json:"refused"`
	Notes   []string `json:"notes"`
	DryRun  bool     `json:"dryRun"`

	// prepare makes the table that is written.
	prepare func(context.Context) error
	// changes reads the source again at the end, and says which rows have changed.
	changes func(context.Context) ([]string, error)
}

// newPlan begins a plan with the damaged rows of the source. It refuses them unless they may be
// skipped, and then consequence says what happens to their shards.
func newPlan(from, to string, bad []*leases.RowError, skip bool, consequence string) *Plan {
	p := &Plan{From: from, To: to, Rows: []Row{}, Bad: []view.BadRow{}, Refused: []string{}, Notes: []string{}}
	for _, e := range bad {
		p.Bad = append(p.Bad, view.BadOf(e))
	}
	slices.SortFunc(p.Bad, func(a, b view.BadRow) int { return cmp.Compare(a.Key, b.Key) })
	if len(bad) > 0 && !skip {
		p.refuse("%s of %s cannot be read: correct them, or give -skip-bad to leave them out; %s",
			view.Plural(len(bad), "row"), from, consequence)
	}
	return p
}

func (p *Plan) refuse(format string, args ...any) {
	p.Refused = append(p.Refused, fmt.Sprintf(format, args...))
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// refuseRunning refuses to copy a table that workers use. With force it only notes that.
func (p *Plan) refuseRunning(force bool, text string) {
	if force {
		p.note("%s", text)
		return
	}
	p.refuse("%s; stop them, or give -force", text)
}

// refuseUnreadable refuses a target with rows that cannot be read.
func (p *Plan) refuseUnreadable(bad []*leases.RowError) {
	for _, e := range bad {
		p.refuse("%s has a row that cannot be read: %v", p.To, e)
	}
}

// add adds a row to be created. A row that is there already has a checkpoint, and may differ.
func (p *Plan) add(r Row, exists, differs bool, checkpoint string) {
	r.Action = actionCreate
	switch {
	case exists && differs:
		r.Action, r.Note = actionDiffer, "the checkpoint there is "+checkpoint
	case exists:
		r.Action = actionSame
	}
	p.Rows = append(p.Rows, r)
}

func (p *Plan) count(action string) int {
	n := 0
	for _, r := range p.Rows {
		if r.Action == action {
			n++
		}
	}
	return n
}

// listChanges says of each row that is new, or that change has a text for, that it has changed.
func listChanges[T any](before, after []T, key func(T) string, change func(was, now T) string) []string {
	was := map[string]T{}
	for _, r := range before {
		was[key(r)] = r
	}
	var texts []string
	for _, r := range after {
		old, ok := was[key(r)]
		if !ok {
			texts = append(texts, key(r)+" is new")
		} else if text := change(old, r); text != "" {
			texts = append(texts, key(r)+" "+text)
		}
	}
	return texts
}
