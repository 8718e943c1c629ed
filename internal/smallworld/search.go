package smallworld

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// search tries all histories of a world, in order of their length. It ends at the first broken
// promise.
type search struct {
	*world
	seen        map[hash]uint32 // the states, with their indexes in parents
	parents     []parent
	transitions int
	alive       map[[shards]liveKey]bool
}

// hash names a state.
type hash [2]uint64

// parent tells how a state was reached first.
type parent struct {
	state uint32
	step  uint16
}

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hashOf(b []byte) hash { return hash{maphash.Bytes(seeds[0], b), maphash.Bytes(seeds[1], b)} }

// result is what a search has found.
type result struct {
	states, transitions int
	broken              string // the promise that is broken, or empty
	path                string // the shortest history that breaks it
}

// run searches all histories of at most depth steps and maxLost lost answers that begin in one of
// the states starts.
func run(r rules, f *family, starts []state, depth int, maxLost uint8) result {
	x := &search{world: newWorld(r, f, maxLost), seen: map[hash]uint32{}, alive: map[[shards]liveKey]bool{}}
	var layer, next [][]byte
	var indexes, nextIndexes []uint32
	var roots []state
	for _, s := range starts {
		b, _ := x.canonical(&s, nil)
		if _, ok := x.seen[hashOf(b)]; !ok {
			index := uint32(len(x.parents))
			x.seen[hashOf(b)] = index
			x.parents = append(x.parents, parent{state: index})
			layer, indexes, roots = append(layer, b), append(indexes, index), append(roots, s)
		}
	}
	var steps []step
	var buf []byte
	for level := range depth {
		for i, b := range layer {
			before := decode(b)
			steps = x.steps(&before, steps[:0])
			for _, st := range steps {
				after := before
				broken := x.apply(&after, st)
				x.transitions++
				if broken == "" {
					after.forget()
					buf, _ = x.canonical(&after, buf)
					key := hashOf(buf)
					if _, ok := x.seen[key]; ok {
						continue
					}
					index := uint32(len(x.parents))
					x.seen[key] = index
					x.parents = append(x.parents, parent{indexes[i], st.encode()})
					if level+1 < depth {
						next, nextIndexes = append(next, append([]byte(nil), buf...)), append(nextIndexes, index)
					}
					broken = x.checkAlive(&after)
				}
				if broken != "" {
					return result{len(x.seen), x.transitions, broken, x.path(roots, indexes[i], st, broken)}
				}
			}
		}
		layer, next = next, layer[:0]
		indexes, nextIndexes = nextIndexes, indexes[:0]
	}
	return result{states: len(x.seen), transitions: x.transitions}
}

// path returns the history that leads to the state with the index and then makes the step last.
func (x *search) path(roots []state, index uint32, last step, broken string) string {
	steps := []step{last}
	for x.parents[index].state != index {
		steps = append(steps, decodeStep(x.parents[index].step))
		index = x.parents[index].state
	}
	now := roots[index]
	var text strings.Builder
	fmt.Fprintf(&text, "the stream is %s, and in the beginning:\n%s", x.name, now.text())
	for i := len(steps) - 1; i >= 0; i-- {
		// The steps have the names of the canonical states. The text keeps the first names.
		_, names := x.canonical(&now, nil)
		st := names.oldStep(steps[i])
		fmt.Fprintf(&text, "%2d. %s\n", len(steps)-i, st.text(&now))
		broke := x.apply(&now, st)
		now.forget()
		text.WriteString(now.text())
		if (broke != "") && i > 0 {
			panic("smallworld: the path does not repeat: " + broke)
		}
	}
	fmt.Fprintf(&text, "broken: %s\n", broken)
	return text.String()
}

// oldStep returns a step of the renamed state as a step of the state before.
func (n naming) oldStep(st step) step {
	for old, renamed := range n.workers {
		if renamed == st.worker {
			st.worker = uint8(old)
			break
		}
	}
	st.shard = uint8(n.shards[st.shard])
	return st
}
