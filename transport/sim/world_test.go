package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
)

// A log collects what a service of a node receives.
type log struct {
	world *World
	lines []string
}

func (l *log) receive(t *Transport, service string) {
	t.Receive(service, func(from string, body []byte) { l.lines = append(l.lines, from+" "+string(body)) })
}

// after lets time pass and returns what has been received until then.
func (l *log) after(d time.Duration) []string {
	time.Sleep(d)
	l.world.Wait()
	lines := l.lines
	l.lines = nil
	return lines
}

// three brings up the nodes a, b and c, of which b and c write service "s" into
// the log.
func three(w *World) (a, b, c *Transport, l *log) {
	a, b, c = w.Join("a"), w.Join("b"), w.Join("c")
	l = &log{world: w}
	l.receive(b, "s")
	l.receive(c, "s")
	return a, b, c, l
}

func echo(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil }

// timed makes a call with a second of time and returns how it ended, and when.
func timed(w *World, from *Transport, to string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	start := time.Now()
	_, err := from.Call(ctx, to, "echo", []byte("x"))
	return time.Since(start), err
}

func TestCallTakesTwoDelays(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		a, b, _, _ := three(w)
		b.Serve("echo", echo)
		took, err := timed(w, a, "b")
		require.NoError(w.T(), err)
		require.Equal(w.T(), 2*steadyDelay, took)
	})
}

func TestPartitionIsABlackHole(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, b, c, l := three(w)
		b.Serve("echo", echo)
		c.Serve("echo", echo)
		require.NoError(t, a.Send("b", "s", []byte("on the way")))
		w.Partition([]string{"a"}, []string{"b"})
		require.NoError(t, a.Send("b", "s", []byte("behind")))
		require.NoError(t, a.Send("c", "s", []byte("beside")))
		require.Equal(t, []string{"a beside"}, l.after(time.Second))

		took, err := timed(w, a, "b")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, took)
		_, err = timed(w, a, "c")
		require.NoError(t, err)

		w.Heal()
		_, err = timed(w, a, "b")
		require.NoError(t, err)
		require.Empty(t, l.after(time.Second), "what was lost stays lost")
	})
}

func TestCutIsOneWay(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, b, _, l := three(w)
		l.receive(a, "s")
		b.Serve("echo", echo)
		w.Cut("b", "a")
		a.Send("b", "s", []byte("there"))
		b.Send("a", "s", []byte("back"))
		require.Equal(t, []string{"a there"}, l.after(time.Second))
		_, err := timed(w, a, "b") // the response is lost
		require.ErrorIs(t, err, context.DeadlineExceeded)
		w.Mend("b", "a")
		_, err = timed(w, a, "b")
		require.NoError(t, err)
	})
}

func TestDroppedRequestOrResponseEndsWithTheContext(t *testing.T) {
	for _, link := range [][2]string{{"a", "b"}, {"b", "a"}} {
		Run(t, Config{Faults: steady}, func(w *World) {
			a, b, _, _ := three(w)
			b.Serve("echo", echo)
			w.Link(link[0], link[1]).Set(Faults{Drop: 1})
			took, err := timed(w, a, "b")
			require.ErrorIs(w.T(), err, context.DeadlineExceeded)
			require.Equal(w.T(), time.Second, took)
		})
	}
}

func TestCrashEndsCallsOneDelayLater(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, b, _, _ := three(w)
		var ended time.Duration
		b.Serve("echo", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			ended = w.Elapsed()
			return nil, nil
		})
		go func() {
			time.Sleep(100 * time.Millisecond)
			w.Crash("b")
		}()
		took, err := timed(w, a, "b")
		require.ErrorIs(t, err, transport.ErrUnreachable)
		require.Equal(t, 100*time.Millisecond+steadyDelay, took)
		w.Wait()
		require.Equal(t, 100*time.Millisecond, ended)
		require.Error(t, b.Context().Err())
		require.ErrorIs(t, b.Send("a", "s", nil), transport.ErrClosed)
		_, err = b.Call(t.Context(), "a", "echo", nil)
		require.ErrorIs(t, err, transport.ErrClosed)

		took, err = timed(w, a, "b") // is refused after the way there and back
		require.ErrorIs(t, err, transport.ErrUnreachable)
		require.Equal(t, 2*steadyDelay, took)
		require.NoError(t, a.Send("b", "s", nil), "a message is lost in silence")
	})
}

func TestPartitionHidesACrash(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		a, b, _, _ := three(w)
		b.Serve("echo", func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, nil })
		go func() {
			time.Sleep(100 * time.Millisecond)
			w.Partition([]string{"a"}, []string{"b"})
			w.Crash("b")
		}()
		took, err := timed(w, a, "b")
		require.ErrorIs(w.T(), err, context.DeadlineExceeded)
		require.Equal(w.T(), time.Second, took)
	})
}

// A crashed caller ends the handlers of its calls, as its connections break.
func TestCrashOfTheCallerEndsItsHandlers(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		a, b, _, _ := three(w)
		var ended time.Duration
		b.Serve("echo", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			ended = w.Elapsed()
			return nil, nil
		})
		go timed(w, a, "b")
		time.Sleep(100 * time.Millisecond)
		w.Crash("a")
		time.Sleep(steadyDelay)
		w.Wait()
		require.Equal(w.T(), 100*time.Millisecond+steadyDelay, ended)
	})
}

func TestRestartedNodeMayGetWhatWasSentToTheFormer(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, _, _, l := three(w)
		boot := func(tr *Transport) { l.receive(tr, "s") }
		w.Hold("a", "b")
		a.Send("b", "s", []byte("late"))
		time.Sleep(time.Second)
		w.Crash("b")
		again := w.Restart("b", boot)
		require.Equal(t, "b", again.Local())
		w.Release("a", "b")
		require.Equal(t, []string{"a late"}, l.after(0))

		a.Send("b", "s", []byte("to nobody"))
		w.Crash("b")
		time.Sleep(time.Second)
		w.Restart("b", boot)
		require.Empty(t, l.after(time.Second))
	})
}

func TestHoldKeepsAndReleaseDeliversInOrder(t *testing.T) {
	Run(t, Config{Faults: Faults{Delay: Uniform(0, 50*time.Millisecond)}}, func(w *World) {
		t := w.T()
		a, _, _, l := three(w)
		w.Hold("a", "b")
		var want []string
		for i := range 20 {
			a.Send("b", "s", fmt.Append(nil, i))
			want = append(want, fmt.Sprint("a ", i))
		}
		require.Empty(t, l.after(time.Minute))
		w.Release("a", "b")
		require.Equal(t, want, l.after(0))
	})
}

func TestPausedNodeNeitherHearsNorSpeaks(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, b, _, l := three(w)
		b.Serve("echo", echo)
		w.Pause("b")
		a.Send("b", "s", []byte("to b"))
		b.Send("c", "s", []byte("from b"))
		_, err := timed(w, a, "b")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, l.after(time.Second))
		w.Resume("b")
		require.Equal(t, []string{"a to b"}, l.after(0))
		require.Equal(t, []string{"b from b"}, l.after(steadyDelay))
		_, err = timed(w, a, "b")
		require.NoError(t, err)
	})
}

func TestDuplicateBreaksTheContractOnPurpose(t *testing.T) {
	Run(t, Config{Faults: Faults{Duplicate: 1}}, func(w *World) {
		t := w.T()
		a, b, _, l := three(w)
		runs := 0
		b.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			runs++
			return request, nil
		})
		a.Send("b", "s", []byte("twice"))
		require.Equal(t, []string{"a twice", "a twice"}, l.after(time.Second))
		response, err := a.Call(t.Context(), "b", "echo", []byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x", string(response))
		time.Sleep(time.Second)
		w.Wait()
		require.Equal(t, 2, runs)
	})
}

func TestReorderBreaksTheContractOnPurpose(t *testing.T) {
	order := func(f Faults) (sorted bool, n int) {
		Run(t, Config{Faults: f}, func(w *World) {
			a, _, _, l := three(w)
			for i := range 100 {
				a.Send("b", "s", fmt.Appendf(nil, "%03d", i))
			}
			lines := l.after(time.Second)
			sorted, n = slices.IsSorted(lines), len(lines)
		})
		return sorted, n
	}
	sorted, n := order(Faults{Reorder: 0.1})
	require.False(t, sorted)
	require.Equal(t, 100, n)
	sorted, n = order(Faults{Delay: Exponential(0, 20*time.Millisecond)})
	require.True(t, sorted, "a delay alone keeps the contract")
	require.Equal(t, 100, n)
}

// The contract promises no order between services, so that the simulator must
// not keep one by accident.
func TestServicesOvertakeEachOther(t *testing.T) {
	Run(t, Config{Faults: Faults{Delay: Uniform(0, 50*time.Millisecond)}}, func(w *World) {
		a, _, _, l := three(w)
		b := w.names["b"].transport
		l.receive(b, "other")
		for i := range 20 {
			a.Send("b", []string{"s", "other"}[i%2], fmt.Appendf(nil, "%02d", i))
		}
		lines := l.after(time.Second)
		require.Len(w.T(), lines, 20)
		require.False(w.T(), slices.IsSorted(lines))
	})
}

// A handler that keeps its buffer works by luck on other transports.
func TestBodyKeptByAHandlerIsFoundOut(t *testing.T) {
	Run(t, Config{}, func(w *World) {
		t := w.T()
		a, b, _, _ := three(w)
		var kept [][]byte
		b.Receive("keep", func(_ string, body []byte) { kept = append(kept, body) })
		b.Serve("keep", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			kept = append(kept, request)
			return request, nil
		})
		a.Send("b", "keep", []byte("hello"))
		response, err := a.Call(t.Context(), "b", "keep", []byte("hello"))
		require.NoError(t, err)
		require.Equal(t, "hello", string(response))
		time.Sleep(time.Second)
		w.Wait()
		require.Len(t, kept, 2)
		for _, b := range kept {
			require.Equal(t, strings.Repeat("\xdb", 5), string(b))
		}
	})
}

func TestQueueOfALinkIsBounded(t *testing.T) {
	Run(t, Config{Queue: 3, Faults: steady}, func(w *World) {
		t := w.T()
		a, _, _, l := three(w)
		w.Hold("a", "b")
		for range 3 {
			require.NoError(t, a.Send("b", "s", nil))
		}
		require.ErrorIs(t, a.Send("b", "s", nil), transport.ErrOverflow)
		require.NoError(t, a.Send("c", "s", nil), "another link")
		l.after(time.Second)
		require.ErrorIs(t, a.Send("b", "s", nil), transport.ErrOverflow, "held messages count")
		w.Release("a", "b")
		require.Len(t, l.after(0), 3)
		for _, fault := range []func(){ // however a message ends, its place is free again
			func() { w.Link("a", "b").Set(Faults{Drop: 1}) },
			func() { w.Cut("a", "b") },
			func() { w.Heal(); w.Link("a", "b").Set(Faults{Duplicate: 1}) },
			func() { w.Crash("b") },
		} {
			for range 3 {
				require.NoError(t, a.Send("b", "s", nil))
			}
			require.ErrorIs(t, a.Send("b", "s", nil), transport.ErrOverflow)
			fault()
			l.after(time.Second)
		}
		require.NoError(t, a.Send("b", "s", nil))
	})
}

// A verb that coincides with the timers of nodes comes after all of them.
func TestVerbsComeAfterWhatTheInstantSetOff(t *testing.T) {
	for range 20 {
		Run(t, Config{Faults: Faults{Delay: Constant(0)}}, func(w *World) {
			a, _, _, l := three(w)
			for i := range 5 {
				go func() {
					time.Sleep(time.Second)
					a.Send("b", "s", fmt.Append(nil, i))
				}()
			}
			time.Sleep(time.Second)
			w.Hold("a", "b")
			require.Empty(w.T(), l.after(time.Second))
			w.Release("a", "b")
			require.Len(w.T(), l.after(0), 5)
		})
	}
}

func TestWaitSeesTheInstantToItsEnd(t *testing.T) {
	Run(t, Config{Faults: Faults{Delay: Constant(0)}}, func(w *World) {
		a, b, _, l := three(w)
		b.Receive("relay", func(_ string, body []byte) { b.Send("c", "s", body) })
		a.Send("b", "relay", []byte("x"))
		w.Wait()
		require.Equal(w.T(), []string{"b x"}, l.lines)
		require.Zero(w.T(), w.Elapsed())
	})
}

func TestRandIsNamedNotTakenInTurn(t *testing.T) {
	draws := func(seed uint64, names ...string) (out []uint64) {
		Run(t, Config{Seed: seed}, func(w *World) {
			w.Rand("other").Uint64()
			r := w.Rand(names...)
			out = []uint64{r.Uint64(), r.Uint64(), r.Uint64()}
		})
		return out
	}
	require.Equal(t, draws(1, "a"), draws(1, "a"))
	require.NotEqual(t, draws(1, "a"), draws(2, "a"))
	require.NotEqual(t, draws(1, "a"), draws(1, "b"))
	require.NotEqual(t, draws(1, "a", "b"), draws(1, "ab"))
}

// A test may close what it got out of a world after the world has ended.
func TestTransportOutlivesItsWorld(t *testing.T) {
	var a *Transport
	Run(t, Config{}, func(w *World) {
		a = w.Join("a")
		a.Serve("s", echo)
		_, err := a.Call(w.T().Context(), "a", "s", nil)
		require.NoError(w.T(), err)
	})
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Send("a", "s", nil), transport.ErrClosed)
	_, err := a.Call(t.Context(), "a", "s", nil)
	require.ErrorIs(t, err, transport.ErrClosed)
}

// What a failed or careless test leaves open does not keep it from ending.
func TestWorldEndsWithEverythingOpen(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		a, b, _, _ := three(w)
		b.Serve("echo", func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
		near, far := pair(w, a, b)
		go a.Call(context.Background(), "b", "echo", nil)
		go near.Read(make([]byte, 1))
		go far.Write(make([]byte, 1<<20))
		go a.DialContext(context.Background(), "tcp", "b:1")
		w.Hold("a", "b")
		a.Send("b", "s", nil)
		w.Pause("c")
		go func() { // one that looks at its context only now and then
			for a.Context().Err() == nil {
				time.Sleep(10 * time.Second)
			}
		}()
		time.Sleep(time.Second)
	})
}

func TestLogfIsPartOfTheHash(t *testing.T) {
	hash := func(line string) (sum uint64) {
		Run(t, Config{Seed: 1}, func(w *World) {
			w.Logf("leader is %s", line)
			require.Contains(w.T(), w.Trace(), "leader is "+line)
			sum = w.Hash()
		})
		return sum
	}
	require.Equal(t, hash("a"), hash("a"))
	require.NotEqual(t, hash("a"), hash("b"))
}

func TestTraceIsBounded(t *testing.T) {
	Run(t, Config{Trace: 10}, func(w *World) {
		for i := range 100 {
			w.Logf("line %d", i)
		}
		trace := w.Trace()
		require.Contains(w.T(), trace, "... 90 earlier events")
		require.Contains(w.T(), trace, "line 99")
		require.NotContains(w.T(), trace, "line 89")
		require.Equal(w.T(), 11, strings.Count(trace, "\n"))
	})
}

func TestInvalidConfigNamesFieldValueAndBound(t *testing.T) {
	for _, c := range []struct {
		config Config
		says   []string
	}{
		{Config{Queue: -1}, []string{"Queue", "-1", "1 to 1048576"}},
		{Config{MaxMessage: math.MaxInt32}, []string{"MaxMessage", "2147483647"}},
		{Config{Trace: -5}, []string{"Trace", "-5"}},
		{Config{Limit: -time.Second}, []string{"Limit", "-1s"}},
		{Config{Faults: Faults{Drop: 1.5}}, []string{"Faults.Drop", "1.5", "0 to 1"}},
		{Config{Faults: Faults{Bandwidth: -1}}, []string{"Faults.Bandwidth", "-1"}},
	} {
		_, err := c.config.withDefaults()
		for _, text := range c.says {
			require.ErrorContains(t, err, text)
		}
	}
}

func TestARestartEndsAPause(t *testing.T) {
	Run(t, Config{}, func(w *World) {
		a, arrived := w.Join("a"), make(chan string, 1)
		boot := func(node *Transport) {
			node.Receive("s", func(_ string, body []byte) { arrived <- string(body) })
		}
		boot(w.Join("b"))
		w.Pause("b")
		w.Crash("b")
		w.Restart("b", boot)
		require.NoError(w.T(), a.Send("b", "s", []byte("hello")))
		require.Equal(w.T(), "hello", <-arrived)
	})
}
