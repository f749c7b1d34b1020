package mem

// The bounds, for the tests of what happens at them.
const (
	MaxCalls    = maxCalls
	MaxMessages = maxMessages
	MaxBytes    = maxBytes
	MaxIdle     = maxIdle
)

// Known returns how many senders and links a node keeps in mind.
func (t *Transport) Known() int {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	return len(t.inboxes) + len(t.in)
}

// Idle returns how many goroutines wait for work.
func (t *Transport) Idle() int {
	t.workers.mu.Lock()
	defer t.workers.mu.Unlock()
	return len(t.workers.idle)
}
