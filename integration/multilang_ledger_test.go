package integration

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// child is a process that a daemon started for a shard, as its file in the ledger folder tells.
type child struct {
	pid   int
	shard string // empty until it was initialised
}

// childLedgers reads the files that the children of one daemon write: one per process, named
// PID-TIME, with the lines of [journal.note]. The data of a record is "KEY NUMBER MD5".
type childLedgers struct {
	dir string

	mu       sync.Mutex // guards the fields below
	offsets  map[string]int64
	children map[string]*child
}

func newChildLedgers(dir string) *childLedgers {
	return &childLedgers{dir: dir, offsets: map[string]int64{}, children: map[string]*child{}}
}

// read hands each new line to note. A line of a record must have the sum that sums knows.
func (l *childLedgers) read(worker string, note func(worker, text string), sum func(record string) string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files, err := os.ReadDir(l.dir)
	if err != nil {
		note(worker, err.Error())
		return
	}
	for _, file := range files {
		name := file.Name()
		text, err := readFrom(filepath.Join(l.dir, name), l.offsets[name])
		if err != nil {
			note(worker, err.Error())
			continue
		}
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		l.offsets[name] += int64(len(text))
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			l.follow(name, line)
			note(worker, withoutSum(line, sum))
		}
	}
}

// follow notes which shard a process has.
func (l *childLedgers) follow(file, line string) {
	fields := strings.SplitN(line, "\t", 5)
	if len(fields) == 5 && fields[1] == "initialize" {
		pid, _, _ := strings.Cut(file, "-")
		number, err := strconv.Atoi(pid)
		if err == nil {
			l.children[file] = &child{number, fields[2]}
		}
	}
}

// withoutSum removes the sum from a record's line. A wrong sum makes the line a foreign one.
func withoutSum(line string, sum func(record string) string) string {
	if fields := strings.Split(line, "\t"); len(fields) != 5 || fields[1] != "record" {
		return line
	}
	at := strings.LastIndexByte(line, ' ')
	record := line[strings.LastIndexByte(line[:at], '\t')+1 : at]
	if want := sum(record); line[at+1:] != want {
		return fmt.Sprintf("%q: the sum of the data is not %s", line, want)
	}
	return line[:at]
}

func readFrom(path string, offset int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, 0); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	_, err = text.ReadFrom(file)
	return text.Bytes(), err
}

// living are the children that still run. A pid that another program has by now does not count.
func (l *childLedgers) living() (living []child) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.children {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.pid))
		if err == nil && bytes.Contains(environment, []byte("LEDGER="+l.dir+"\x00")) {
			living = append(living, *c)
		}
	}
	return living
}

// kill ends the children that a daemon left behind. The error of a process that has ended is none.
func (l *childLedgers) kill() {
	for _, c := range l.living() {
		_ = syscall.Kill(c.pid, syscall.SIGKILL)
	}
}

func sumOf(data []byte) string { return fmt.Sprintf("%x", md5.Sum(data)) }
