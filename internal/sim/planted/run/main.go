// Command run plants the bugs of package planted, one after the other, and tells who finds each:
// the simulation, with the seed and the CPU time, or an ordinary test. With -out it appends each
// result to a file. It does not look again for the bugs that the file has.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/sim/planted"
	"github.com/kinesis-go/kcl/internal/stopsignal"
)

var (
	names    = flag.String("run", "", "plant only the bugs whose name matches this expression")
	list     = flag.Bool("list", false, "list the bugs, and plant none")
	seed     = flag.Uint64("seed", 1, "the first seed of the simulation")
	cpu      = flag.Duration("cpu", time.Minute, "CPU time of the simulation for one bug")
	tests    = flag.Bool("tests", true, "run the ordinary tests if the simulation misses a bug")
	parallel = flag.Int("p", 2, "how many bugs to look for at the same time")
	out      = flag.String("out", "", "append the results to this file, and leave out the bugs that it has")
)

func main() {
	flag.Parse()
	os.Exit(status())
}

// status runs the command and returns its exit status: 1 if a bug was missed, 2 after an error.
func status() int {
	switch missed, err := run(stopsignal.Context()); {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	case missed > 0:
		return 1
	}
	return 0
}

// run looks for the chosen bugs. It returns how many were missed.
func run(ctx context.Context) (missed int, err error) {
	bugs, err := chosen()
	if err != nil {
		return 0, err
	}
	if *list {
		for _, b := range bugs {
			fmt.Printf("%-28s %s\n", b.Name, b.Text)
		}
		return 0, nil
	}
	known, file, err := openResults()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return 0, fmt.Errorf("find the module: %w", err)
	}
	r := &planted.Runner{Root: strings.TrimSpace(string(root)), Seed: *seed, CPU: *cpu, Tests: *tests}
	t := tally{lines: map[string]string{}, file: file}
	var todo []planted.Bug
	for _, b := range bugs {
		if line, ok := known[b.Name]; ok {
			t.lines[b.Name] = line
			continue
		}
		todo = append(todo, b)
	}
	end, err := r.Prepare(ctx, todo)
	if err != nil {
		return 0, err
	}
	defer end()
	t.findAll(ctx, r, todo)
	return t.print(bugs), t.err
}

// chosen returns the bugs whose name matches the flag -run.
func chosen() ([]planted.Bug, error) {
	re, err := regexp.Compile(*names)
	if err != nil {
		return nil, err
	}
	all, err := planted.All()
	var bugs []planted.Bug
	for _, b := range all {
		if re.MatchString(b.Name) {
			bugs = append(bugs, b)
		}
	}
	return bugs, err
}

// openResults reads the results of earlier runs, and opens their file for more.
func openResults() (known map[string]string, file *os.File, err error) {
	if *out == "" {
		return nil, os.Stdout, nil
	}
	if file, err = os.OpenFile(*out, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, nil, err
	}
	known = map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), " ")
		known[name] = lines.Text()
	}
	return known, file, lines.Err()
}

// tally has the results.
type tally struct {
	file *os.File

	mu    sync.Mutex // guards the fields below
	lines map[string]string
	err   error
}

// findAll looks for several bugs at the same time.
func (t *tally) findAll(ctx context.Context, r *planted.Runner, bugs []planted.Bug) {
	queue := make(chan planted.Bug)
	var wg sync.WaitGroup
	for range *parallel {
		wg.Go(func() { // ends with the queue
			for b := range queue {
				result, err := r.Find(ctx, b)
				t.add(b, result, err)
			}
		})
	}
	for _, b := range bugs {
		if ctx.Err() != nil {
			break
		}
		queue <- b
	}
	close(queue)
	wg.Wait()
}

// add notes a result. The line of a missed bug has the word MISSED.
func (t *tally) add(b planted.Bug, r planted.Result, err error) {
	by := r.By
	if by == "" {
		by = "MISSED"
	}
	line := fmt.Sprintf("%-28s %-10s %5.1f s  %s", b.Name, by, r.CPU.Seconds(), r.How)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		_, err = fmt.Fprintln(t.file, line)
		t.lines[b.Name] = line
	}
	if err != nil && t.err == nil {
		t.err = err
	}
}

// print prints the totals, and the missed bugs. It returns the number of those.
func (t *tally) print(bugs []planted.Bug) (missed int) {
	counts := map[string]int{}
	for _, b := range bugs {
		fields := strings.Fields(t.lines[b.Name])
		if len(fields) < 2 {
			continue // the run was interrupted
		}
		counts[fields[1]]++
		if fields[1] == "MISSED" {
			fmt.Printf("missed: %s: %s\n", b.Name, b.Text)
		}
	}
	fmt.Printf("%d bugs: %d found by the simulation, %d by ordinary tests, %d missed\n", len(bugs),
		counts["simulation"], counts["tests"], counts["MISSED"])
	return counts["MISSED"]
}
