package planted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Runner looks for planted bugs. It is safe for concurrent use after Prepare.
type Runner struct {
	// Root is the root of the module, an absolute path.
	Root string
	// Seed is the first seed of the simulation.
	Seed uint64
	// CPU is the CPU time of the simulation for one bug.
	CPU time.Duration
	// Tests says that the ordinary tests run after the simulation has missed a bug.
	Tests bool

	dir     string // for temporary files
	overlay string // the file for the flag -overlay
	binary  string // the simulation with all bugs

	mu       sync.Mutex                        // guards the fields below
	binaries map[string]func() (string, error) // the tests of a package with all bugs
	clean    map[uint64]func() (bool, error)   // whether a seed shows no violation without a bug
}

// Result says whether a bug was found.
type Result struct {
	// By is "simulation", "tests" or empty if the bug was missed.
	By string
	// How is the seed and the violation, or the name of the failed test.
	How string
	// CPU is the CPU time that the simulation took.
	CPU time.Duration
}

// simulation is the folder of the simulated fleets.
const simulation = "internal/sim"

// wholeLibrary are the packages whose tests run if those of the bug's own packages miss the bug.
var wholeLibrary = []string{"internal/coordinator", "scheduler"}

// longest bounds one run of a test binary. A bug can make it hang.
const longest = 30 * time.Minute

// Prepare builds the simulation with all bugs. The caller must call the returned function at the
// end.
func (r *Runner) Prepare(ctx context.Context, bugs []Bug) (end func(), err error) {
	if r.dir, err = os.MkdirTemp("", "planted"); err != nil {
		return nil, err
	}
	end = func() { _ = os.RemoveAll(r.dir) }
	r.binaries, r.clean = map[string]func() (string, error){}, map[uint64]func() (bool, error){}
	if err = r.writeOverlay(bugs); err == nil {
		r.binary, err = r.testBinary(ctx, simulation)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// writeOverlay writes the planted files, and the overlay that names them.
func (r *Runner) writeOverlay(bugs []Bug) error {
	changed, err := Plant(r.Root, bugs)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for name, text := range changed {
		to := filepath.Join(r.dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(name)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return err
		}
		replace[filepath.Join(r.Root, name)] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	r.overlay = filepath.Join(r.dir, "overlay.json")
	return os.WriteFile(r.overlay, data, 0o600)
}

// build builds the test binary of a package with all bugs.
func (r *Runner) build(ctx context.Context, dir, to string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-overlay="+r.overlay, "-o", to, "./"+dir)
	cmd.Dir = r.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("planted: build the tests of %s: %w\n%s", dir, err, out)
	}
	return nil
}

// Find plays the simulation with a bug, and then runs the ordinary tests.
func (r *Runner) Find(ctx context.Context, b Bug) (Result, error) {
	result, err := r.simulate(ctx, b.Name)
	if err != nil || result.By != "" || !r.Tests {
		return result, err
	}
	for _, dir := range append(slices.Clone(b.Tests), wholeLibrary...) {
		failed, how, err := r.test(ctx, dir, b.Name)
		if err != nil {
			return result, err
		}
		if failed {
			result.By, result.How = "tests", dir+": "+how
			break
		}
	}
	return result, nil
}

// test runs the ordinary tests of a package with a bug, in their short form.
func (r *Runner) test(ctx context.Context, dir, bug string) (failed bool, how string, err error) {
	binary, err := r.testBinary(ctx, dir)
	if err != nil {
		return false, "", err
	}
	cmd := exec.CommandContext(ctx, binary, "-test.short", "-test.failfast", "-test.timeout", longest.String())
	cmd.Dir, cmd.Env = filepath.Join(r.Root, dir), chosen(bug)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return false, "", context.Cause(ctx)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return false, "", err
	}
	return err != nil, firstMatch(string(out), failedTest, panicked), nil
}

// testBinary returns the test binary of a package with all bugs. It builds the binary once.
func (r *Runner) testBinary(ctx context.Context, dir string) (string, error) {
	r.mu.Lock()
	build := r.binaries[dir]
	if build == nil {
		to := filepath.Join(r.dir, strings.ReplaceAll(path.Clean(dir), "/", "+")+".test")
		build = sync.OnceValues(func() (string, error) { return to, r.build(ctx, dir, to) })
		r.binaries[dir] = build
	}
	r.mu.Unlock()
	return build()
}

// chosen returns an environment that chooses a bug; an empty name is none.
func chosen(bug string) []string { return append(os.Environ(), Variable+"="+bug) }

// simulate plays seeds until one shows a violation that the clean library does not show.
func (r *Runner) simulate(ctx context.Context, bug string) (Result, error) {
	var result Result
	for seed := r.Seed; result.CPU < r.CPU; {
		p, err := r.play(ctx, bug, "-seed", fmt.Sprint(seed), "-cpu-time", (r.CPU - result.CPU).String())
		if err != nil {
			return result, err
		}
		result.CPU += p.cpu
		if !p.failed {
			break
		}
		clean, err := r.cleanAt(ctx, p.seed)
		if err != nil {
			return result, err
		}
		if clean {
			result.By, result.How = "simulation", fmt.Sprintf("seed %d: %s", p.seed, p.how)
			return result, nil
		}
		seed = p.seed + 1
	}
	return result, nil
}

// cleanAt tells whether the library without a bug shows no violation with a seed. It plays each
// seed once for all bugs.
func (r *Runner) cleanAt(ctx context.Context, seed uint64) (bool, error) {
	r.mu.Lock()
	clean := r.clean[seed]
	if clean == nil {
		clean = sync.OnceValues(func() (bool, error) { return r.playClean(ctx, seed) })
		r.clean[seed] = clean
	}
	r.mu.Unlock()
	return clean()
}

func (r *Runner) playClean(ctx context.Context, seed uint64) (bool, error) {
	for range 2 {
		p, err := r.play(ctx, "", "-seed", fmt.Sprint(seed), "-seeds", "1")
		if err != nil || p.failed {
			return false, err
		}
	}
	return true, nil
}

// played is the outcome of one run of the simulation.
type played struct {
	failed bool
	seed   uint64 // the last one
	how    string
	cpu    time.Duration
}

var (
	seedBegan  = regexp.MustCompile(`=== RUN +TestSim/seed_(\d+)`)
	violation  = regexp.MustCompile(`repeat with: .*\n\s*(.*)`)
	panicked   = regexp.MustCompile(`(?m)^((?:panic|fatal error): .*)`)
	failedTest = regexp.MustCompile(`--- FAIL: (\S+)`)
	anyFailure = regexp.MustCompile(`(?m)^\s+(\S+_test\.go:\d+: .*)`)
)

// play runs the simulation with a bug until the first violation.
func (r *Runner) play(ctx context.Context, bug string, args ...string) (played, error) {
	args = append([]string{"-test.run", "^TestSim$", "-test.v", "-test.timeout", longest.String(), "-first"}, args...)
	cmd := exec.CommandContext(ctx, r.binary, args...)
	cmd.Dir, cmd.Env = filepath.Join(r.Root, simulation), chosen(bug)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return played{}, context.Cause(ctx)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return played{}, err
	}
	p := played{failed: err != nil, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if began := seedBegan.FindAllStringSubmatch(out.String(), -1); len(began) > 0 {
		p.seed, _ = strconv.ParseUint(began[len(began)-1][1], 10, 64) // digits only
	} else {
		return p, fmt.Errorf("planted: the simulation played nothing:\n%s", out.String())
	}
	if p.failed {
		p.how = firstMatch(out.String(), violation, panicked, anyFailure)
	}
	return p, nil
}

// firstMatch returns the group of the first expression that text matches.
func firstMatch(text string, of ...*regexp.Regexp) string {
	for _, re := range of {
		if m := re.FindStringSubmatch(text); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return "failed"
}
