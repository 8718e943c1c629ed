package smallworld

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// TestEachPromiseIsChecked: a step that breaks a promise is noticed. The states are such that no
// right rule leads to them.
func TestEachPromiseIsChecked(t *testing.T) {
	t.Parallel()
	held := row{there: true, owner: 1, native: 1, counter: 1}
	to := func(checkpoint uint8) write {
		after := held
		after.counter, after.checkpoint = 2, checkpoint
		return write{read: held, to: after, set: leases.AttrAll}
	}
	landing := step{kind: land, flight: 1}
	for name, c := range map[string]struct {
		prepare func(*state)
		step    step
		want    string
	}{
		"checkpoint ahead of the work": {func(s *state) {
			s.flights[0] = flight{kind: checkpoint, worker: 1, write: to(atRecord)}
		}, landing, "S1"},
		"checkpoint goes back": {func(s *state) {
			s.facts[0].done, s.facts[0].top = true, atRecord
			s.flights[0] = flight{kind: checkpoint, worker: 1, write: to(atTrimHorizon)}
		}, landing, "S2"},
		"write of an earlier owner": {func(s *state) {
			s.flights[0] = flight{kind: renew, worker: 1, stale: true, write: to(atTrimHorizon)}
		}, landing, "S3"},
		"two owners": {func(s *state) { *s.of(2, 0) = *s.of(1, 0) }, step{kind: renew, worker: 1}, "S4"},
		"child before its parent": {func(s *state) {
			s.hold(2, 1, atTrimHorizon)
		}, step{kind: checkpoint, worker: 2, shard: 1}, "S6"},
		"end before the children": {func(s *state) {
			s.facts[0].done = true
			s.flights[0] = flight{kind: finish, worker: 1, write: to(atEnd)}
		}, landing, "S8"},
		"deleted row is made again": {func(s *state) { s.facts[1].deleted = true }, step{kind: finish, worker: 1}, "S15"},
		"checkpoint is lost":        {func(s *state) { s.facts[0].top = atRecord }, step{kind: pass}, "a checkpoint"},
	} {
		x := newWorld(theRules(), families()["chain"], 0)
		s := x.begin(false)
		s.hold(1, 0, atTrimHorizon)
		require.Empty(t, x.check(&s), name)
		c.prepare(&s)
		require.Regexp(t, "^"+c.want, x.apply(&s, c.step), name)
	}
}
