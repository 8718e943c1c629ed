package sim

import (
	"hash/fnv"
	"math"
	"time"
)

// dice makes decisions by hashes. The same seed and the same words give the same decision. So
// decisions do not depend on the order in which goroutines ask.
type dice uint64

// roll returns a decision for words, which should hold a time or a number that occurs once.
func (d dice) roll(words ...any) dice {
	h := uint64(d) ^ 0x9e3779b97f4a7c15
	for _, w := range words {
		switch w := w.(type) {
		case string:
			f := fnv.New64a()
			_, _ = f.Write([]byte(w)) // never fails
			h ^= f.Sum64()
		case int:
			h ^= uint64(w)
		case time.Time:
			h ^= uint64(w.UnixNano())
		default:
			panic("sim: a word of a roll must be a string, an int or a time")
		}
		h = mix(h)
	}
	return dice(h)
}

// mix is the finalizer of splitmix64.
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// n returns a number from 0 to limit-1. limit must be positive.
func (d dice) n(limit int) int { return int(mix(uint64(d)) % uint64(limit)) }

// float returns a number from 0 to below 1.
func (d dice) float() float64 { return float64(mix(uint64(d))>>11) / (1 << 53) }

// chance returns true with probability p.
func (d dice) chance(p float64) bool { return d.float() < p }

// between returns a duration from low to high. Its nanoseconds are random, so that hardly two
// events fall on the same instant.
func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.float()*float64(high-low))
}

// skewed returns a duration from low to high. Each order of magnitude is equally likely.
func (d dice) skewed(low, high time.Duration) time.Duration {
	return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), d.float()))
}
