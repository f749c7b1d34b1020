package transport

import (
	"context"
	"errors"
	"fmt"
)

// The errors of every Transport, matched with errors.Is. They come wrapped in
// text that names the node and the service.
var (
	// ErrClosed says that this Transport has been closed.
	ErrClosed = errors.New("transport: closed")
	// ErrUnreachable says that no connection to the node could be made or
	// kept. A call that was under way may have been handled all the same.
	ErrUnreachable = errors.New("transport: node unreachable")
	// ErrOverflow says that a bounded queue or the number of calls in flight
	// is at its limit. Nothing was sent.
	ErrOverflow = errors.New("transport: overflow")
	// ErrTooLarge says that a body is over the message limit. Nothing was sent,
	// or, where the response was too large, it was dropped.
	ErrTooLarge = errors.New("transport: message too large")
	// ErrNoService says that the node is there and serves no such service.
	ErrNoService = errors.New("transport: no such service")
	// ErrInvalidName says that the name of a node or service is empty or
	// longer than MaxName bytes.
	ErrInvalidName = errors.New("transport: invalid name")
)

// RemoteError is an error that a handler returned on another node. Only its
// text travels: an error of one process has no identity in another.
type RemoteError struct {
	Node    string // the node whose handler failed
	Service string // the service that was called
	Message string // the text of the handler's error
}

// Error returns the message with the node and service that it came from.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("transport: %s on %s: %s", e.Service, e.Node, e.Message)
}

// CheckName returns nil for a name of 1 to MaxName bytes, and otherwise an
// ErrInvalidName that says what is wrong. kind is "node" or "service".
func CheckName(kind, name string) error {
	if n := len(name); n == 0 || n > MaxName {
		return fmt.Errorf("%w: a %s name has 1 to %d bytes, this one has %d", ErrInvalidName, kind, MaxName, n)
	}
	return nil
}

// ContextError returns the error of a context that has ended, joined with its
// cause where that says more. It is what Call returns then.
func ContextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
