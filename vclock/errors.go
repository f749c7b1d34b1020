package vclock

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// What an encoding holds at most. Clocks in memory are not checked, so that
// Tick and Merge need no error; they are when they are encoded.
const (
	// MaxName is the longest name of a node, in bytes.
	MaxName = 255
	// MaxEntries is the largest number of nodes in one clock.
	MaxEntries = 1 << 16
	// MaxCounter is the largest counter of a node, and the largest time of a
	// Lamport clock. A node that ticks a billion times a second needs 292 years
	// to reach it.
	MaxCounter = math.MaxInt64
)

var (
	// ErrCorrupt says that data is not the encoding of what it was decoded
	// into.
	ErrCorrupt = errors.New("vclock: corrupt encoding")
	// ErrTooLarge says that a name, a counter or the number of entries is above
	// MaxName, MaxCounter or MaxEntries.
	ErrTooLarge = errors.New("vclock: too large")
	// ErrBound says that a Durable has reached the bound that was saved last.
	// It goes on after the next Extend.
	ErrBound = errors.New("vclock: saved bound reached")
)

// An OffsetError is the refusal of a stamp whose time is too far ahead of this
// machine's. Either the sender's clock is wrong or ours is.
type OffsetError struct {
	Remote    Stamp         // the stamp that was refused
	Offset    time.Duration // how far it is ahead
	MaxOffset time.Duration // how far it may be: HybridConfig.MaxOffset
}

// Error names the stamp, its offset and the maximum.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("vclock: stamp %v is %v ahead of this machine, more than the MaxOffset of %v", e.Remote, e.Offset, e.MaxOffset)
}
