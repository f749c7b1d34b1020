package crdt

import (
	"errors"
	"fmt"

	"github.com/parley-go/parley/vclock"
)

// What an encoding holds at most. States in memory are not checked, so that
// mutators need no error; they are when they are encoded.
const (
	// MaxName is the longest name of a replica, in bytes.
	MaxName = vclock.MaxName
	// MaxReplicas is the largest number of replicas in one state.
	MaxReplicas = vclock.MaxEntries
	// MaxCounter is the largest counter of a dot.
	MaxCounter = vclock.MaxCounter
)

var (
	// ErrCorrupt says that data is not the encoding of what it was decoded
	// into.
	ErrCorrupt = errors.New("crdt: corrupt encoding")
	// ErrTooLarge says that a name, a counter or the number of replicas is above
	// MaxName, MaxCounter or MaxReplicas.
	ErrTooLarge = errors.New("crdt: too large")
	// ErrUnsupported says that elements, keys or values are of a type that has
	// no binary form, or that an element or key would be decoded to something else;
	// see the package comment.
	ErrUnsupported = errors.New("crdt: a type without a binary form")
	// ErrRights says that a BoundedCounter may not take or give as much as was
	// asked for: the rest belongs to other replicas, or to nobody.
	ErrRights = errors.New("crdt: not enough rights")
)

// A ReuseError says that a replica went on from a state older than what it had
// let out before: a merge has brought events of its own name that it does not
// know to have made. Changes of the two lives may have been taken for one
// another and be lost. The replica goes on above what it has seen. To be safe,
// start again under a new name, and next time too; see Incarnation.
type ReuseError struct {
	Name     string // of the replica
	Had      uint64 // how far its own counter was
	Received uint64 // how far it has been, as others know
}

// Error names the replica and both counters.
func (e *ReuseError) Error() string {
	return fmt.Sprintf("crdt: replica %q had come to %d and receives its own %d: it went on from an old state, or two replicas have one name", e.Name, e.Had, e.Received)
}

// A reuse is what a state remembers of that.
type reuse struct {
	issued        bool // this life has let something out
	had, received uint64
}

// saw notes that own events up to received came in where had were known. To
// one that has not let out anything it is no harm: it has been brought up to date.
func (r *reuse) saw(had, received uint64) {
	if r.issued && received > had {
		r.had, r.received = had, received
	}
}

func (r *reuse) err(name string) error {
	if r.received == 0 {
		return nil
	}
	return &ReuseError{Name: name, Had: r.had, Received: r.received}
}

func corrupt(text string, args ...any) error {
	return fmt.Errorf("%w: "+text, append([]any{ErrCorrupt}, args...)...)
}

// refuse ends a program that changes what cannot be changed, as a write into a
// nil map does: to go on would lose the change without a word.
func refuse(why string) { panic("crdt: " + why) }

const (
	nobody  = "this state belongs to no replica and is only merged and read: change one made by New with a name"
	outside = "a value inside a map is changed within Update only"
	inside  = "a value inside a map is decoded with its map"
)
