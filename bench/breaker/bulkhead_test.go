package breaker_test

import (
	"testing"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
)

const room = 16

// A permit is taken and given back, with room to spare.
func BenchmarkBulkheadAcquireRelease(b *testing.B) {
	ctx := b.Context()
	ours, err := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: room})
	require.NoError(b, err)
	peer := bulkhead.New[int](room)
	weighted := semaphore.NewWeighted(room)
	channel := make(chan struct{}, room)
	compare(b, "", map[string]func() error{
		"parley": func() error {
			permit, err := ours.Acquire(ctx)
			permit.Report(breaker.Success)
			return err
		},
		"failsafe-direct": func() error {
			err := peer.AcquirePermit(ctx)
			peer.ReleasePermit()
			return err
		},
		"x-sync": func() error {
			err := weighted.Acquire(ctx, 1)
			weighted.Release(1)
			return err
		},
		"channel": func() error {
			select {
			case channel <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			<-channel
			return nil
		},
	})
}
