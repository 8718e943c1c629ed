// Package cpu measures how much of the processors was used lately. If a control group allows this
// process fewer processors than the machine has, it measures the control group, and otherwise the
// machine. It reads a few small files of Linux, and measures nothing on other systems. It stands
// where the KCL has LinuxCpuUtilizationSensor and the sensors for containers. Package scheduler
// uses it.
package cpu

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// Meter measures from one call of Used to the next. It is not safe for concurrent use.
type Meter struct {
	root  fs.FS
	now   func() time.Time
	began time.Time
	last  reading
}

// NewMeter returns a Meter of this process's machine or container. It reads nothing yet.
func NewMeter() *Meter { return &Meter{root: os.DirFS("/"), now: time.Now} }

// reading is the processor time that was used up to a moment, and the time that was available. The
// unit is that of the source.
type reading struct {
	source          string // only two readings of the same source can be compared
	used, available float64
}

// Used returns how much was used since the last call, in percent. ok is false at the first call,
// when no time has passed, and when the system does not tell.
func (m *Meter) Used() (percent float64, ok bool) {
	was := m.last
	m.last = m.read()
	available, used := m.last.available-was.available, m.last.used-was.used
	if m.last.source == "" || was.source != m.last.source || available <= 0 || used < 0 {
		return 0, false
	}
	return min(100, used/available*100), true
}

func (m *Meter) read() reading {
	machine, cores := m.machine()
	if m.began.IsZero() {
		m.began = m.now()
	}
	for _, group := range []func() (usedSeconds, limit float64, ok bool){m.groupV2, m.groupV1} {
		if used, limit, ok := group(); ok && limit > 0 && (cores == 0 || limit < cores) {
			return reading{
				source:    "group " + strconv.FormatFloat(limit, 'g', -1, 64),
				used:      used,
				available: limit * m.now().Sub(m.began).Seconds(),
			}
		}
	}
	return machine
}

// machine reads /proc/stat. cores is the number of processors.
func (m *Meter) machine() (r reading, cores float64) {
	for line := range strings.Lines(m.file("proc/stat")) {
		words := strings.Fields(line)
		switch {
		case len(words) < 5 || !strings.HasPrefix(words[0], "cpu"):
		case words[0] != "cpu":
			cores++
		default: // user nice system idle iowait irq softirq steal, and guests, which are in user
			r.source = "machine"
			for i, w := range words[1:min(len(words), 9)] {
				n, err := strconv.ParseFloat(w, 64)
				if err != nil {
					return reading{}, 0
				}
				r.available += n
				if i != 3 && i != 4 {
					r.used += n
				}
			}
		}
	}
	return r, cores
}

// groupV2 reads a control group of version 2.
func (m *Meter) groupV2() (used, limit float64, ok bool) {
	for _, dir := range m.dirs("sys/fs/cgroup", "") {
		for line := range strings.Lines(m.file(path.Join(dir, "cpu.stat"))) {
			if n, is := strings.CutPrefix(line, "usage_usec "); is {
				used, ok = m.number(n)
			}
		}
		if !ok {
			continue
		}
		quota, period, _ := strings.Cut(m.file(path.Join(dir, "cpu.max")), " ")
		q, ok1 := m.number(quota)
		p, ok2 := m.number(period)
		if ok1 && ok2 && p > 0 {
			limit = q / p
		}
		return used / 1e6, least(limit, cpusIn(m.file(path.Join(dir, "cpuset.cpus.effective")))), true
	}
	return 0, 0, false
}

// groupV1 reads control groups of version 1.
func (m *Meter) groupV1() (used, limit float64, ok bool) {
	for _, dir := range m.dirs("sys/fs/cgroup/cpuacct", "cpuacct") {
		if used, ok = m.number(m.file(path.Join(dir, "cpuacct.usage"))); ok {
			break
		}
	}
	if !ok {
		return 0, 0, false
	}
	for _, dir := range m.dirs("sys/fs/cgroup/cpu", "cpu") {
		q, ok1 := m.number(m.file(path.Join(dir, "cpu.cfs_quota_us")))
		p, ok2 := m.number(m.file(path.Join(dir, "cpu.cfs_period_us")))
		if ok1 && ok2 && q > 0 && p > 0 {
			limit = q / p
			break
		}
	}
	for _, dir := range m.dirs("sys/fs/cgroup/cpuset", "cpuset") {
		if n := cpusIn(m.file(path.Join(dir, "cpuset.effective_cpus"))); n > 0 {
			limit = least(limit, n)
			break
		}
	}
	return used / 1e9, limit, true
}

// dirs are the folders that may have the files of this process's group: the path of the group, and
// the top folder, as a container sees it.
func (m *Meter) dirs(top, controller string) []string {
	for line := range strings.Lines(m.file("proc/self/cgroup")) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, at, _ := strings.Cut(rest, ":")
		for name := range strings.SplitSeq(controllers, ",") {
			if name == controller {
				return []string{path.Join(top, path.Clean("/"+at)), top}
			}
		}
	}
	return []string{top}
}

// file returns the text of a file; empty when it cannot be read.
func (m *Meter) file(name string) string {
	text, err := fs.ReadFile(m.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (m *Meter) number(text string) (float64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return float64(n), err == nil
}

// least is the lesser of two limits. A limit of 0 does not count.
func least(a, b float64) float64 {
	switch {
	case a <= 0:
		return b
	case b <= 0:
		return a
	}
	return min(a, b)
}

// cpusIn counts the processors of a list such as 0-3,8. It returns 0 for a malformed list.
func cpusIn(list string) (n float64) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 0 || b < a || b > 1<<16 {
			return 0
		}
		n += float64(b - a + 1)
	}
	return n
}
