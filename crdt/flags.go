package crdt

import "github.com/parley-go/parley/vclock"

// EWFlag is a flag that is on or off, and on if it was switched on and off
// concurrently. It is off at first.
//
// Deltas may be repeated and come in any order. A lost Disable leaves no trace: a whole
// state makes up for it, and for a lost Enable as well. The zero value belongs to no
// replica: it is merged and read. It is not safe for concurrent use, except that
// any number of goroutines may read it.
type EWFlag struct{ causal }

// NewEWFlag returns a flag that is off and is changed under the name of a replica,
// as NewORSet does.
func NewEWFlag(replica string) *EWFlag {
	return &EWFlag{newCausal(replica, new(elements[struct{}]))}
}

// Enable switches the flag on and returns the delta.
func (f *EWFlag) Enable() *EWFlag { return &EWFlag{*f.set().Add(struct{}{}).parts()} }

// Disable switches the flag off, as far as it was seen to be switched on, and
// returns the delta.
func (f *EWFlag) Disable() *EWFlag { return &EWFlag{*f.set().Remove(struct{}{}).parts()} }

// set returns the flag as a set of one element, or none.
func (f *EWFlag) set() *ORSet[struct{}] { return &ORSet[struct{}]{causal: f.causal} }

// Enabled reports whether the flag is on.
func (f *EWFlag) Enabled() bool { return f.store != nil && f.store.live() }

// Merge takes in another state or delta and reports whether anything changed.
func (f *EWFlag) Merge(other *EWFlag) (changed bool) { return f.mergeStanding(&other.causal) }

// AppendBinary appends the encoding of f to b. Equal flags have equal encodings. The
// error is ErrTooLarge; b is returned as it was then.
func (f *EWFlag) AppendBinary(b []byte) ([]byte, error) {
	return f.encode(b, kindEWFlag, new(elements[struct{}]))
}

// UnmarshalBinary replaces f by what AppendBinary encoded, as a state that belongs
// to no replica. The error is ErrCorrupt; f stays as it was then.
func (f *EWFlag) UnmarshalBinary(data []byte) error {
	return f.decode(data, kindEWFlag, new(elements[struct{}]))
}

// MarshalJSON returns true or false.
func (f *EWFlag) MarshalJSON() ([]byte, error) { return marshalBool(f.Enabled()), nil }

func (*EWFlag) fresh() *EWFlag         { return new(EWFlag) }
func (*EWFlag) newStore() store        { return new(elements[struct{}]) }
func (*EWFlag) bind(c *causal) *EWFlag { return &EWFlag{*c} }

// DWFlag is a flag that is on or off, and off if it was switched on and off
// concurrently. It is off at first.
//
// Deltas may be repeated and come in any order; what was in one that is lost comes
// with another state. The zero value belongs to no replica: it is merged and
// read. It is not safe for concurrent use, except that any number of goroutines may
// read it.
type DWFlag struct{ causal }

// NewDWFlag returns a flag that is off and is changed under the name of a replica,
// as NewORSet does.
func NewDWFlag(replica string) *DWFlag {
	return &DWFlag{newCausal(replica, new(ballots[struct{}]))}
}

// Enable switches the flag on, undoing what is known here of its being switched
// off, and returns the delta.
func (f *DWFlag) Enable() *DWFlag { return &DWFlag{f.set().Add(struct{}{}).causal} }

// Disable switches the flag off and returns the delta. It counts against concurrent
// Enables also where the flag was off.
func (f *DWFlag) Disable() *DWFlag { return &DWFlag{f.set().Remove(struct{}{}).causal} }

// set returns the flag as a set of one element, or none.
func (f *DWFlag) set() *RWSet[struct{}] { return &RWSet[struct{}]{f.causal} }

// Enabled reports whether the flag is on.
func (f *DWFlag) Enabled() bool { return f.set().Contains(struct{}{}) }

// Merge takes in another state or delta and reports whether anything changed.
func (f *DWFlag) Merge(other *DWFlag) (changed bool) { return f.mergeStanding(&other.causal) }

// Compact forgets that the flag was switched off, if all of that is in stable, and
// reports whether it did. It matters for flags in an ORMap, whose keys stay while
// something is held. The condition is that of RWSet.Compact.
func (f *DWFlag) Compact(stable vclock.Clock) bool {
	return f.set().Compact(stable) > 0
}

// AppendBinary appends the encoding of f to b, as EWFlag.AppendBinary does.
func (f *DWFlag) AppendBinary(b []byte) ([]byte, error) {
	return f.encode(b, kindDWFlag, new(ballots[struct{}]))
}

// UnmarshalBinary replaces f by what AppendBinary encoded, as
// EWFlag.UnmarshalBinary does.
func (f *DWFlag) UnmarshalBinary(data []byte) error {
	return f.decode(data, kindDWFlag, new(ballots[struct{}]))
}

// MarshalJSON returns true or false.
func (f *DWFlag) MarshalJSON() ([]byte, error) { return marshalBool(f.Enabled()), nil }

func (*DWFlag) fresh() *DWFlag         { return new(DWFlag) }
func (*DWFlag) newStore() store        { return new(ballots[struct{}]) }
func (*DWFlag) bind(c *causal) *DWFlag { return &DWFlag{*c} }

func marshalBool(on bool) []byte {
	if on {
		return []byte("true")
	}
	return []byte("false")
}
