package main

import (
	"context"
	"sync"
)

// keyLocks are locks by key, made when wanted and gone when free. The zero value
// is ready. Waiting ends with the context.
type keyLocks struct {
	mu    sync.Mutex
	byKey map[string]*keyLock
}

type keyLock struct {
	held  chan struct{} // one slot: full while somebody holds the lock
	users int           // holder and waiters; guarded by keyLocks.mu
}

// lock takes the lock of a key. The error is the cause of ctx's end.
func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.byKey[key]
	if k == nil {
		if l.byKey == nil {
			l.byKey = map[string]*keyLock{}
		}
		k = &keyLock{held: make(chan struct{}, 1)}
		l.byKey[key] = k
	}
	k.users++
	l.mu.Unlock()

	select {
	case k.held <- struct{}{}:
		return func() {
			<-k.held
			l.leave(key, k)
		}, nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, context.Cause(ctx)
	}
}

func (l *keyLocks) leave(key string, k *keyLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.byKey, key)
	}
}
