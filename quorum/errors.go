package quorum

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors of this package, matched with errors.Is.
var (
	// ErrQuorum says that fewer nodes answered than were needed. It comes as a
	// *ShortError.
	ErrQuorum = errors.New("quorum: not reached")
	// ErrUncertain says that a write that failed was sent all the same: some
	// replica may have taken it, and then it may be read later.
	ErrUncertain = errors.New("quorum: the write may be found later")
	// ErrInvalid says that an argument or a field of Config is out of its
	// bounds; the text names it, the value and the bound.
	ErrInvalid = errors.New("quorum: invalid")
	// ErrSkew says that a version lies too far in the future. It comes as a
	// *SkewError.
	ErrSkew = errors.New("quorum: version in the future")
	// ErrRecovering is the answer of a replica that has not yet copied its part
	// of the data from the others, and so does not count for reads.
	ErrRecovering = errors.New("quorum: replica is recovering")
	// ErrSuperseded says why a replica's answer did not count beside another's:
	// one of the two has restarted, and they have not met since.
	ErrSuperseded = errors.New("quorum: replica has restarted and not met the others")
	// ErrExited is the answer of a call that ended its goroutine
	// (runtime.Goexit).
	ErrExited = errors.New("quorum: call exited without an answer")
	// ErrClosed says that the Store has been closed.
	ErrClosed = errors.New("quorum: closed")
	// ErrCorrupt says that bytes from the network or from a Storage are not
	// what this package writes.
	ErrCorrupt = errors.New("quorum: corrupt encoding")

	errBehind   = errors.New("quorum: replica holds something older, although it took the write")
	errNoAnswer = errors.New("no answer in time")
	errNotOwner = errors.New("quorum: does not own the key; the rings of the nodes differ")
	errNoMember = errors.New("quorum: does not count the asking node as a member; the rings of the nodes differ")
)

// ShortError says that fewer nodes answered than were needed. errors.Is and
// errors.As also look into the errors of the nodes and into Cause.
type ShortError struct {
	Wanted   int         // how many answers were needed
	Of       int         // how many nodes were to be asked
	Answered int         // how many gave an answer that counts
	Failed   []NodeError // the others, as far as known, in the order of the nodes
	Cause    error       // what ended the wait early, if something did
	// Uncertain is true of a write that was sent: errors.Is then also finds
	// ErrUncertain.
	Uncertain bool
}

// NodeError is the failure of one node.
type NodeError struct {
	Node string
	Err  error
}

// Error returns the node's name and what went wrong.
func (e NodeError) Error() string { return e.Node + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e NodeError) Unwrap() error { return e.Err }

// Error says how many of how many were wanted, how many answered, and what
// each failed node said.
func (e *ShortError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "quorum: %d of %d wanted, %d answered", e.Wanted, e.Of, e.Answered)
	separator := ": "
	for _, f := range e.Failed {
		b.WriteString(separator)
		b.WriteString(f.Error())
		separator = "; "
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, " (%v)", e.Cause)
	}
	if e.Uncertain {
		b.WriteString("; the write may be found later")
	}
	return b.String()
}

// Unwrap returns ErrQuorum, ErrUncertain where it applies, Cause, and the
// errors of the nodes.
func (e *ShortError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed)+3)
	errs = append(errs, ErrQuorum)
	if e.Uncertain {
		errs = append(errs, ErrUncertain)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, f := range e.Failed {
		errs = append(errs, f)
	}
	return errs
}

// SkewError says that a version lies further ahead of a node's clock than
// Config.MaxSkew: a clock is wrong somewhere, and taking the version would
// carry the mistake on. errors.Is finds ErrSkew.
type SkewError struct {
	Version Version
	Ahead   time.Duration // of the clock of the node that refuses
	Bound   time.Duration // that node's MaxSkew
}

// Error names the version, how far it is ahead and the bound.
func (e *SkewError) Error() string {
	return fmt.Sprintf("quorum: version %v is %v ahead of this node's clock, the bound is %v", e.Version, e.Ahead, e.Bound)
}

// Unwrap returns ErrSkew.
func (e *SkewError) Unwrap() error { return ErrSkew }

// A PanicError carries a panic from the goroutine of a call to the caller of
// Gather, who gets it as the panic value.
type PanicError struct {
	Node  string // whose call it was
	Value any    // what the call panicked with
	Stack []byte // of the call, as runtime/debug.Stack prints it
}

// Error returns the panic's value and the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("quorum: the call of node %s panicked: %v\n\n%s", e.Node, e.Value, e.Stack)
}

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
