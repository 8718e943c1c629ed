// Package chance is the library's only source of random numbers. In production they come from
// math/rand/v2 and crypto/rand. In a simulation they are hashes of the caller's words and of the
// virtual time, so that two plays of one world draw the same.
package chance

import (
	crand "crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// simulated says that this process plays simulated worlds.
var simulated atomic.Bool

// Simulate makes the draws of this process hashes. It is for package sim. There is no way back.
// Worlds of one process draw differently because their events fall on different nanoseconds.
func Simulate() { simulated.Store(true) }

// Simulated tells whether Simulate was called.
func Simulated() bool { return simulated.Load() }

// Int is a number or a duration.
type Int interface{ ~int | ~int64 }

// N returns a number from 0 to n-1. n must be positive. The words name the draw and its owner. Two
// draws at one instant with the same words have the same outcome in a simulation.
func N[T Int](n T, words ...string) T {
	if simulated.Load() {
		return T(mix(hash(words)^uint64(n)) % uint64(n))
	}
	return rand.N(n)
}

// Float64 returns a number from 0 to below 1. For words see [N].
func Float64(words ...string) float64 {
	if simulated.Load() {
		return float64(hash(words)>>11) / (1 << 53)
	}
	return rand.Float64()
}

// Rand returns a generator for one goroutine. For words see [N].
func Rand(words ...string) *rand.Rand {
	seed := rand.Uint64()
	if simulated.Load() {
		seed = hash(words)
	}
	return rand.New(rand.NewPCG(seed, 0))
}

// Read fills b with bytes that nobody can guess. For words see [N].
func Read(b []byte, words ...string) {
	if !simulated.Load() {
		_, _ = crand.Read(b) // never fails
		return
	}
	for h := hash(words); len(b) > 0; h = mix(h) {
		var some [8]byte
		binary.LittleEndian.PutUint64(some[:], h)
		b = b[copy(b, some[:]):]
	}
}

// Text returns 26 letters and digits that nobody can guess. For words see [N].
func Text(words ...string) string {
	if !simulated.Load() {
		return crand.Text()
	}
	var b [20]byte
	Read(b[:], words...)
	return base32.StdEncoding.EncodeToString(b[:])[:26]
}

// Name returns a word for the later draws of an owner that begins now, so that two owners draw
// differently at one instant. In production it is empty.
func Name(words ...string) string {
	if !simulated.Load() {
		return ""
	}
	return Text(words...)
}

// hash mixes the words with the time.
func hash(words []string) uint64 {
	h := mix(uint64(time.Now().UnixNano()))
	for _, w := range words {
		for i := range len(w) {
			h = (h ^ uint64(w[i])) * 1099511628211 // as FNV-1a does
		}
		h = mix(h)
	}
	return h
}

// mix is the finalizer of splitmix64.
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
