package redis_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	sdk "github.com/redis/go-redis/v9"
)

var errInjected = errors.New("injected")

// silence is a logger that drops the client's own messages. They are about the failures that tests
// make.
type silence struct{}

func TestMain(m *testing.M) {
	sdk.SetLogger(silence{})
	m.Run()
}

// recorder stands between a client and its server. It counts commands. It can make a command fail,
// or send it twice as a client does when an answer is lost.
type recorder struct {
	mu     sync.Mutex // guards the fields below
	count  map[string]int
	after  int // commands until one fails; 0 means never
	double bool
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = map[string]int{}
}

func (r *recorder) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *recorder) fail(after int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = after
}

func (r *recorder) DialHook(next sdk.DialHook) sdk.DialHook { return next }

func (r *recorder) ProcessPipelineHook(next sdk.ProcessPipelineHook) sdk.ProcessPipelineHook {
	return func(ctx context.Context, commands []sdk.Cmder) error {
		r.mu.Lock()
		if r.count == nil {
			r.count = map[string]int{}
		}
		for _, cmd := range commands {
			r.count[cmd.Name()]++
		}
		r.count["requests"]++
		failed := r.after == 1
		r.after = max(0, r.after-1)
		r.mu.Unlock()
		if failed {
			for _, cmd := range commands {
				cmd.SetErr(errInjected)
			}
			return errInjected
		}
		return next(ctx, commands)
	}
}

func (r *recorder) ProcessHook(next sdk.ProcessHook) sdk.ProcessHook {
	return func(ctx context.Context, cmd sdk.Cmder) error {
		r.mu.Lock()
		if r.count == nil {
			r.count = map[string]int{}
		}
		r.count[cmd.Name()]++
		failed := r.after == 1
		r.after = max(0, r.after-1)
		double := r.double
		r.mu.Unlock()
		if failed {
			cmd.SetErr(errInjected)
			return errInjected
		}
		if double {
			_ = next(ctx, cmd) // the answer is lost
		}
		return next(ctx, cmd)
	}
}
