// Package parallel makes several calls at the same time.
package parallel

import "sync"

// Do calls f for 0 to n-1, each on a goroutine of its own, with at most limit calls at a time. It
// returns when all calls have returned.
func Do(n, limit int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, limit)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() { // ends with its call
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}
