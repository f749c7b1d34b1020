package mem

import "sync"

// maxIdle is how many goroutines a node keeps for its next message or request.
const maxIdle = 16

// workers runs jobs, each on a goroutine that does nothing else meanwhile. A few
// goroutines are kept when they are done: a new one would have to grow its stack
// in the midst of nearly every handler, which costs more than all the rest.
type workers struct {
	running sync.WaitGroup // goroutines, and jobs that have been promised

	mu     sync.Mutex
	idle   []*worker
	closed bool
}

type worker struct {
	next chan func() // closed when there is none
}

// run runs job on a goroutine, idle or new. Who calls it has counted the job in
// running; that count keeps those of goroutines off zero.
func (p *workers) run(job func()) {
	p.mu.Lock()
	last := len(p.idle) - 1
	if last < 0 {
		p.mu.Unlock()
		p.running.Add(1)
		go p.work(&worker{next: make(chan func(), 1)}, job)
		return
	}
	w := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	p.mu.Unlock()
	w.next <- job
}

// work runs jobs until none comes, or until one of them ends the goroutine.
func (p *workers) work(w *worker, job func()) {
	defer p.running.Done()
	for more := true; more; job, more = <-w.next {
		job()
		if !p.park(w) {
			return
		}
	}
}

// park makes w idle, unless there are enough or the node has closed.
func (p *workers) park(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, w)
	return true
}

// close ends the idle goroutines and keeps none from now on.
func (p *workers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w.next)
	}
	p.idle = nil
}
