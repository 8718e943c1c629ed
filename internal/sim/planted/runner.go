package planted

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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

	dir   string // for temporary files
	clean string // the simulation without a bug
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

// longest bounds one run of a test binary. A bug can make it hang.
const longest = 30 * time.Minute

// Prepare builds the simulation without a bug. The caller must call the returned function at the
// end.
func (r *Runner) Prepare(ctx context.Context) (end func(), err error) {
	if r.dir, err = os.MkdirTemp("", "planted"); err != nil {
		return nil, err
	}
	end = func() { _ = os.RemoveAll(r.dir) }
	r.clean = filepath.Join(r.dir, "clean.test")
	if err := r.build(ctx, r.clean); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// build builds the test binary of the simulation.
func (r *Runner) build(ctx context.Context, to string, flags ...string) error {
	args := append([]string{"test", "-c", "-ldflags=-s -w", "-o", to}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+simulation)...)
	cmd.Dir = r.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("planted: build the simulation: %w\n%s", err, out)
	}
	return nil
}

// Find plays the simulation with a planted bug, and then runs the ordinary tests.
func (r *Runner) Find(ctx context.Context, b Bug) (Result, error) {
	dir, err := os.MkdirTemp(r.dir, b.Name)
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the end of Prepare removes what is left
	overlay, err := b.overlay(r.Root, dir)
	if err != nil {
		return Result{}, err
	}
	binary := filepath.Join(dir, "sim.test")
	if err := r.build(ctx, binary, "-overlay="+overlay); err != nil {
		return Result{}, fmt.Errorf("%s: %w", b.Name, err)
	}
	result, err := r.simulate(ctx, binary)
	if err != nil || result.By != "" || !r.Tests {
		return result, err
	}
	args := append([]string{"test", "-short", "-timeout", longest.String(), "-overlay=" + overlay}, b.Tests...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.Root
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	if err != nil {
		result.By, result.How = "tests", firstMatch(string(out), failedTest, panicked)
	}
	return result, nil
}

// simulate plays seeds until one shows a violation that the clean library does not show.
func (r *Runner) simulate(ctx context.Context, binary string) (Result, error) {
	var result Result
	for seed := r.Seed; result.CPU < r.CPU; {
		p, err := r.play(ctx, binary, "-seed", fmt.Sprint(seed), "-cpu-time", (r.CPU - result.CPU).String())
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

// cleanAt tells whether the library without a bug shows no violation with a seed.
func (r *Runner) cleanAt(ctx context.Context, seed uint64) (bool, error) {
	for range 2 {
		p, err := r.play(ctx, r.clean, "-seed", fmt.Sprint(seed), "-seeds", "1")
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

// play runs a test binary of the simulation until the first violation.
func (r *Runner) play(ctx context.Context, binary string, args ...string) (played, error) {
	args = append([]string{"-test.run", "^TestSim$", "-test.v", "-test.timeout", longest.String(), "-first"}, args...)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(r.Root, simulation)
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
