package service

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestGateCountsCalls(t *testing.T) {
	g := newGate()
	require.True(t, g.enter())
	require.True(t, g.enter())
	g.leave()
	require.False(t, g.done(), "open")
	require.True(t, g.close())
	require.False(t, g.close(), "closed before")
	require.False(t, g.enter())
	require.False(t, g.done(), "one is inside")
	g.leave()
	require.True(t, g.done())
	g.wait()
	g.wait()
}

func TestGateWaitsForTheLastInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		require.True(t, g.enter())
		require.True(t, g.enter())
		g.close()
		var returned atomic.Int32
		for range 3 {
			go func() {
				g.wait()
				returned.Add(1)
			}()
		}
		for range 2 {
			synctest.Wait()
			require.Zero(t, returned.Load())
			require.False(t, g.enter()) // turned away at the door: wakes nobody
			g.leave()
		}
		synctest.Wait()
		require.EqualValues(t, 3, returned.Load())
	})
}

// TestGateUnderLoad has many enter and leave while the gate is shut. After wait
// nobody is inside, nor comes in.
func TestGateUnderLoad(t *testing.T) {
	for range 200 {
		g := newGate()
		var inside atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for g.enter() {
					inside.Add(1)
					inside.Add(-1)
					g.leave()
					runtime.Gosched()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				g.close()
				g.wait()
				if n := inside.Load(); n != 0 {
					t.Errorf("%d inside after wait", n)
				}
			})
		}
		wg.Wait()
		require.True(t, g.done())
	}
}
