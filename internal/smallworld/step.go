package smallworld

import "fmt"

// kind is the kind of a step, and of the write that a step sends.
type kind uint8

const (
	nothing    kind = iota
	take            // a worker carries out a planned take
	ask             // a worker carries out a planned request for a lease
	complete        // a worker completes a hand-over for which it has no consumer
	mend            // a worker removes a hand-over that another library has overtaken
	renew           // an owner renews its lease
	checkpoint      // an owner processes the record, and writes a checkpoint
	finish          // an owner processes the record, makes the rows of the children, and writes SHARD_END
	release         // an owner gives its lease up
	cleanUp         // some worker deletes a superfluous row
	pass            // time passes; a worker that makes no step meanwhile may be frozen
	land            // a write without an answer reaches the table
)

func (k kind) String() string {
	return [...]string{
		"nothing", "takes", "asks for", "completes the hand-over of", "mends", "renews", "writes a checkpoint of",
		"writes SHARD_END of", "gives up", "clean-up deletes the row of", "time passes", "a lost write lands: ",
	}[k]
}

// answer says what becomes of a write.
type answer uint8

const (
	answered answer = iota
	applied         // the table has carried out the write, and the answer is lost
	flying          // the writer gets no answer, and the write may reach the table later
)

// step is one step of the world.
type step struct {
	kind   kind
	answer answer
	worker uint8 // 1 to 3; 0 for steps of no worker
	shard  uint8
	flight uint8 // the flight that lands, or lands just before the write, counted from 1; 0 for none
}

func (st step) encode() uint16 {
	return uint16(st.kind) | uint16(st.answer)<<5 | uint16(st.worker)<<7 | uint16(st.shard)<<9 | uint16(st.flight)<<11
}

func decodeStep(n uint16) step {
	return step{kind(n & 31), answer(n >> 5 & 3), uint8(n >> 7 & 3), uint8(n >> 9 & 3), uint8(n >> 11)}
}

// text describes the step from the state before.
func (st step) text(before *state) string {
	shard := shardNames[st.shard : st.shard+1]
	switch st.kind {
	case pass:
		return st.kind.String()
	case cleanUp:
		return st.kind.String() + " " + shard
	case land:
		f := before.flights[st.flight-1]
		return fmt.Sprintf("%s%s %s %s", st.kind, workerName(f.worker), f.kind, shard)
	}
	text := fmt.Sprintf("%s %s %s%s", workerName(st.worker), st.kind, shard,
		[...]string{"", " (done, the answer is lost)", " (no answer)"}[st.answer])
	if st.flight > 0 {
		f := before.flights[st.flight-1]
		text += fmt.Sprintf(", by a listing before a lost write lands: %s %s", workerName(f.worker), f.kind)
	}
	return text
}

func (r row) String() string {
	if !r.there {
		return "no row"
	}
	s := fmt.Sprintf("owner %q counter %d at %s", workerName(r.owner), r.counter, position(r.checkpoint))
	if r.checkpointOwner != nobody {
		s += fmt.Sprintf(", handed over by %q", workerName(r.checkpointOwner))
	}
	return s
}

// text describes the rows and the leases held in a state.
func (s *state) text() string {
	text := ""
	for i, r := range s.rows {
		text += fmt.Sprintf("    %s: %s", shardNames[i:i+1], r)
		for w := range s.held {
			if h := &s.held[w][i]; h.on {
				text += fmt.Sprintf("; %s holds counter %d, %d ticks old", workerName(uint8(w+1)), h.row.counter, h.age)
			}
		}
		text += "\n"
	}
	return text
}
