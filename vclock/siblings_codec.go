package vclock

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// siblingsFormat is the first byte of an encoded Siblings.
const siblingsFormat = 1

// Append appends the encoding of s to b, with the values as appendValue writes
// them. Equal sets have equal encodings if equal values do. The error is
// ErrTooLarge, for a clock beyond the bounds of an encoding, or the first of
// appendValue, as it is; b is returned as it was then.
func (s Siblings[T]) Append(b []byte, appendValue func(b []byte, value T) ([]byte, error)) ([]byte, error) {
	if err := s.clock.check(); err != nil {
		return b, err
	}
	out := appendClock(append(b, siblingsFormat), s.clock)
	out = binary.AppendUvarint(out, uint64(len(s.values)))
	var scratch []byte
	for _, v := range s.values {
		node, _ := s.clock.find(v.dot.Node) // every dot is in the clock
		out = binary.AppendUvarint(out, uint64(node))
		out = binary.AppendUvarint(out, v.dot.Counter)
		value, err := appendValue(scratch[:0], v.value)
		if err != nil {
			return b, err
		}
		out = appendString(out, value)
		scratch = value
	}
	return out, nil
}

// Decode sets s to what Append encoded. The error is ErrCorrupt, or the first of
// decodeValue, as it is; s stays as it was then. decodeValue gets a slice of its
// own, which it may keep. Beside what decodeValue takes, it allocates a small
// multiple of the length of data: bound that where data comes from.
func (s *Siblings[T]) Decode(data []byte, decodeValue func(data []byte) (T, error)) error {
	r := newReader(data, siblingsFormat)
	decoded := Siblings[T]{clock: r.clock()}
	n := r.uvarint(uint64(len(data)))
	if n > uint64(len(r.data)-r.at)/3 { // a value has three bytes or more
		r.bad = true
	}
	for range n {
		node, counter := r.uvarint(MaxEntries-1), r.counter()
		body := r.take(r.uvarint(uint64(len(data))))
		if r.bad || node >= uint64(decoded.clock.Len()) {
			r.bad = true
			break
		}
		value, err := decodeValue([]byte(body))
		if err != nil {
			return err
		}
		dot := Dot{decoded.clock.names.list[node], counter}
		decoded.values = append(decoded.values, sibling[T]{dot, value})
	}
	if err := r.end(); err != nil {
		return err
	}
	if !decoded.valid() {
		return fmt.Errorf("%w: siblings out of order or not in their clock", ErrCorrupt)
	}
	*s = decoded
	return nil
}

// valid reports whether values from outside are in order and in the clock.
func (s Siblings[T]) valid() bool {
	for i, v := range s.values {
		if v.dot.Counter == 0 || !s.clock.Contains(v.dot) {
			return false
		}
		if i > 0 && s.values[i-1].dot.Compare(v.dot) >= 0 {
			return false
		}
	}
	return true
}

type siblingsJSON[T any] struct {
	Clock  Clock            `json:"clock"`
	Values []siblingJSON[T] `json:"values"`
}

type siblingJSON[T any] struct {
	Dot   Dot `json:"dot"`
	Value T   `json:"value"`
}

// MarshalJSON returns the clock and the values with their dots,
// {"clock":{"a":2},"values":[{"dot":"a=2","value":"x"}]}. The errors are those
// of Clock.MarshalJSON and of the values.
func (s Siblings[T]) MarshalJSON() ([]byte, error) {
	form := siblingsJSON[T]{Clock: s.clock, Values: make([]siblingJSON[T], len(s.values))}
	for i, v := range s.values {
		form.Values[i] = siblingJSON[T]{Dot: v.dot, Value: v.value}
	}
	return json.Marshal(form)
}

// UnmarshalJSON sets s to what MarshalJSON encoded; the order of the values is
// free. null leaves s as it is. The error is ErrCorrupt; s stays as it was then.
func (s *Siblings[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var form siblingsJSON[T]
	if err := json.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("%w: siblings: %w", ErrCorrupt, err)
	}
	decoded := Siblings[T]{clock: form.Clock}
	for _, v := range form.Values {
		decoded.values = append(decoded.values, sibling[T]{dot: v.Dot, value: v.Value})
	}
	slices.SortFunc(decoded.values, func(v, w sibling[T]) int { return v.dot.Compare(w.dot) })
	if !decoded.valid() {
		return fmt.Errorf("%w: siblings twice or not in their clock", ErrCorrupt)
	}
	*s = decoded
	return nil
}
