package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestKeyLocksExcludeByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks keyLocks
		unlock, err := locks.lock(t.Context(), "k")
		require.NoError(t, err)
		unlockOther, err := locks.lock(t.Context(), "other")
		require.NoError(t, err)

		entered := false
		go func() {
			unlock, err := locks.lock(t.Context(), "k")
			if err == nil {
				entered = true
				unlock()
			}
		}()
		synctest.Wait()
		require.False(t, entered)
		unlock()
		synctest.Wait()
		require.True(t, entered)
		unlockOther()
		require.Empty(t, locks.byKey, "a lock that nobody uses is gone")
	})
}

func TestKeyLocksWaitAsLongAsTheContext(t *testing.T) {
	var locks keyLocks
	unlock, err := locks.lock(t.Context(), "k")
	require.NoError(t, err)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err = locks.lock(ctx, "k")
	require.ErrorIs(t, err, why)
	unlock()
	require.Empty(t, locks.byKey)
}
