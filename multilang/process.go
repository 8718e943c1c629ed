package multilang

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// process is a running child as its conversation sees it. Some tests have a process made of pipes.
type process interface {
	pid() int
	// stdin, stdout and stderr are this side's ends of the pipes. Closing one ends a running call.
	stdin() io.WriteCloser
	stdout() io.ReadCloser
	stderr() io.ReadCloser
	// exited is closed once the process has ended and the system has forgotten it.
	exited() <-chan struct{}
	// status says how the process ended, such as "exit status 1". It is valid after exited.
	status() string
	// failed tells whether the process ended with another status than 0. It is valid after exited.
	failed() bool
	// terminate asks the process and its group to end.
	terminate()
	// kill ends the process and its group.
	kill()
}

// launcher is how processes are started.
type launcher struct {
	args []string
	dir  string
	fork *forker
}

// start starts a process with an environment. Its standard streams are pipes. It leads a process
// group of its own, where the system has such groups.
func (l *launcher) start(env []string) (process, error) {
	path, err := lookPath(l.args[0], l.dir)
	if err != nil {
		return nil, err
	}
	var opened []*os.File
	pipe := func() (r, w *os.File) {
		if err == nil {
			if r, w, err = os.Pipe(); err == nil {
				opened = append(opened, r, w)
			}
		}
		return r, w
	}
	childIn, in := pipe()
	out, childOut := pipe()
	errs, childErr := pipe()
	p := &osProcess{in: in, out: out, errs: errs, done: make(chan struct{}), killed: make(chan struct{})}
	if err == nil {
		attr := &os.ProcAttr{
			Dir: l.dir, Env: env, Files: []*os.File{childIn, childOut, childErr}, Sys: attributes(),
		}
		err = l.fork.do(func() (err error) {
			p.proc, err = os.StartProcess(path, l.args, attr)
			return err
		})
	}
	if err != nil {
		closeAll(opened...)
		return nil, fmt.Errorf("start %s: %w%s", l.args[0], err, remedy(err))
	}
	closeAll(childIn, childOut, childErr)
	p.id = p.proc.Pid
	go p.reap() // ends with the process; exited says so
	return p, nil
}

// closeAll closes ends of pipes that nothing was written to.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// lookPath finds the program to run. A name with a slash is relative to dir. Any other name is
// looked up in PATH.
func lookPath(name, dir string) (string, error) {
	if dir != "" && strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("find the program: %w", err)
		}
		return name, nil // the system looks for it after it has changed to dir
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find the program: %w", err)
	}
	return path, nil
}

// osProcess is a process of the operating system.
type osProcess struct {
	proc          *os.Process
	id            int
	in, out, errs *os.File
	done          chan struct{}
	state         *os.ProcessState // valid after done
	waitErr       error            // valid after done

	killed   chan struct{} // closed by kill
	killOnce sync.Once

	mu         sync.Mutex // guards the fields below
	terminated bool
	reaped     bool // the number of the process may belong to another one
}

func (p *osProcess) pid() int                { return p.id }
func (p *osProcess) stdin() io.WriteCloser   { return p.in }
func (p *osProcess) stdout() io.ReadCloser   { return p.out }
func (p *osProcess) stderr() io.ReadCloser   { return p.errs }
func (p *osProcess) exited() <-chan struct{} { return p.done }

// reap waits for the process, so that no zombie stays.
func (p *osProcess) reap() {
	p.state, p.waitErr = p.wait()
	close(p.done)
}

func (p *osProcess) status() string {
	if p.waitErr != nil {
		return "unknown status: " + p.waitErr.Error()
	}
	return p.state.String()
}

func (p *osProcess) failed() bool { return p.waitErr != nil || !p.state.Success() }

func (p *osProcess) terminate() {
	p.signal(func(proc *os.Process) {
		p.terminated = true
		signalTerminate(proc)
	})
}

func (p *osProcess) kill() {
	p.killOnce.Do(func() { close(p.killed) })
	p.signal(signalKill)
}

// signal sends a signal to the group of the process, unless the process has been reaped.
func (p *osProcess) signal(send func(*os.Process)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		send(p.proc)
	}
}

var errForkerClosed = errors.New("the command is closed")

// forker runs functions on one thread of the operating system, one after the other. Linux kills a
// child that has asked for it when the thread that forked the child ends. So this thread lives
// until the forker is closed.
type forker struct {
	begin sync.Once
	calls chan func()
	ended chan struct{} // closed when the thread ends
	over  chan struct{} // closed by close
	stop  sync.Once
}

func newForker() *forker {
	return &forker{calls: make(chan func()), ended: make(chan struct{}), over: make(chan struct{})}
}

// do runs f on the thread. After close it returns errForkerClosed.
func (f *forker) do(fn func() error) error {
	f.begin.Do(func() { go f.loop() }) // ends with close, which waits for it
	answer := make(chan error, 1)
	select {
	case f.calls <- func() { answer <- fn() }:
		return <-answer
	case <-f.over:
		return errForkerClosed
	}
}

// close ends the thread and waits for its end. The processes that it has started must have ended.
func (f *forker) close() {
	f.stop.Do(func() { close(f.over) })
	f.begin.Do(func() { close(f.ended) }) // it has never begun
	<-f.ended
}
