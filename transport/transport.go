package transport

import "context"

// MaxName is the longest name of a node or of a service, in bytes. The shortest is 1.
const MaxName = 255

// DefaultMaxMessage is the largest body, in bytes, that every implementation in
// this module carries unless its Config says otherwise.
const DefaultMaxMessage = 4 << 20

// A Transport carries messages between named nodes. All methods are safe for
// concurrent use. What each promises is checked by package transporttest.
type Transport interface {
	// Local returns the name of this node.
	Local() string

	// Send queues one message for a service of the node named to, and returns
	// at once; it never blocks on the network. A nil error means accepted, not
	// delivered: the message may be lost. What arrives from one sender for one
	// service arrives once and in the order of the Send calls, perhaps with gaps.
	// body is copied before Send returns. A node may send to itself; the handler
	// never runs on the caller's stack.
	//
	// Errors: ErrClosed, ErrUnreachable, ErrOverflow, ErrTooLarge, ErrInvalidName.
	Send(to, service string, body []byte) error

	// Receive registers the handler of a service's one-way messages. Messages
	// from one sender are handled one at a time, in order; those of different
	// senders may be handled at the same time. The handler must not block, for
	// it holds up everything else from that sender. body is the handler's, to
	// write into, during the call; nil and empty are the same and arrive with
	// length 0. Messages for a service without a handler are dropped. Receive
	// and Serve have names of their own: the same name may be used for both.
	//
	// A later registration of the same service takes the place of the earlier
	// one. stop removes the handler, if it is still the registered one, and
	// waits for its running calls; called from inside a handler, stop does not
	// wait. It may be called more than once.
	Receive(service string, h func(from string, body []byte)) (stop func())

	// Call sends a request to a service of the node named to and waits for the
	// response or for the end of ctx, whichever comes first. The deadline of ctx
	// travels with the request. request is not used after Call returns; the
	// response belongs to the caller. A node may call itself.
	//
	// Errors: ErrClosed, ErrUnreachable, ErrOverflow, ErrTooLarge,
	// ErrInvalidName, ErrNoService; a *RemoteError with what the handler
	// returned; or the error of ctx, joined with its cause, also where the
	// handler answers just because its time is up. After ErrUnreachable,
	// ErrClosed and the end of ctx the handler may or may not have run.
	Call(ctx context.Context, to, service string, request []byte) (response []byte, err error)

	// Serve registers the handler of a service's requests. Handlers run
	// concurrently and may block. ctx ends at the caller's deadline, and when the
	// caller gives up, the connection is lost or this Transport closes. request
	// is the handler's, to write into, until it returns; the response is copied
	// right after that, so it may be a part of request or a buffer that is used
	// again. A handler that ends its goroutine (runtime.Goexit) answers with a
	// *RemoteError, and messages after one that did still come; a panic is not
	// recovered.
	//
	// Replacement and stop are as for Receive.
	Serve(service string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func())

	// Close releases everything, ends the calls under way with ErrClosed, those
	// of peers with ErrUnreachable even if their handler still answers, and waits
	// for the handlers that run. Called from inside a handler it does not
	// wait: it releases everything and returns, and the next Close from
	// elsewhere waits. Close may be called more than once.
	Close() error
}
