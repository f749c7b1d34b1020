package sim

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// grace is the virtual time that goroutines have, after the last transport was
// closed, to wake up and find that out. The time of a bubble stops with its test.
const grace = time.Minute

// Run runs f in a world of its own: a testing/synctest bubble in which time is
// virtual and nodes talk over a simulated network. It returns when f has returned
// and all goroutines that it started have ended; for that the transports are
// closed, and a minute of virtual time passes. A goroutine that is left then fails
// the test as a deadlock. If the test fails, its log shows the seed, the hash, the last events and
// the command that runs it again.
//
// Inside f use w.T() in place of t, and w.Wait in place of synctest.Wait. The rules
// of synctest hold: a goroutine that waits for the real network, a file or a
// channel from outside keeps the time from moving on.
func Run(t *testing.T, config Config, f func(w *World)) {
	t.Helper()
	config, err := config.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t, config)
		if err != nil {
			t.Fatal(err)
		}
		go w.pump()
		t.Cleanup(w.end) // last: the cleanups of f run before it
		f(w)
	})
}

// end reports and takes the world down.
func (w *World) end() {
	if w.t.Failed() {
		w.do("", w.report)
	}
	for _, t := range w.transports() {
		_ = t.Close() // it has no error to return
	}
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	w.nudge()
	<-w.done
	time.Sleep(grace)
}

// blame says which seed it was when a handler panics, which ends the process
// before any report.
func (w *World) blame() {
	if v := recover(); v != nil {
		fmt.Fprintf(os.Stderr, "sim: a handler panics under seed %d; run it again:\n\t%s\n",
			w.config.Seed, replay(w.t.Name(), w.config.Seed))
		panic(v)
	}
}

// report logs what is needed to understand and repeat a failure.
func (w *World) report() {
	again := ""
	if name := w.t.Name(); !strings.HasSuffix(name, fmt.Sprintf("/seed=%d", w.config.Seed)) {
		again = "; run it again:\n\t" + replay(name, w.config.Seed)
	}
	w.t.Logf("sim: the last events, before the test failed:\n%s", w.trace.String())
	w.t.Logf("sim: seed %d, hash %016x%s", w.config.Seed, w.trace.digest.Sum64(), again)
}
