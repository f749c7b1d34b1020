package main

import "encoding/binary"

// An order is one entry of the log: edits that are carried out together, and the
// time. Without edits it only sets the clock.
type order struct {
	at    int64 // Unix time in ms, by the clock of the log: see machine
	edits []edit
}

// In the log an order is a version byte, its time, and the edits, each behind its
// length. Its result is the outcomes, each behind its length.
const orderVersion = 1

func (o order) append(b []byte) []byte {
	b = append(b, orderVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(o.at))
	for _, e := range o.edits {
		b = appendSized(b, e.append(nil))
	}
	return b
}

// decodeOrder reads an order, whose values stay parts of b.
func decodeOrder(b []byte) (o order, err error) {
	if len(b) < 9 || b[0] != orderVersion {
		return order{}, errEdit
	}
	o.at = int64(binary.BigEndian.Uint64(b[1:]))
	if o.at <= 0 || o.at > maxExpiry {
		return order{}, errEdit
	}
	for rest := b[9:]; len(rest) > 0; {
		var form []byte
		var ok bool
		if form, rest, ok = cutSized(rest); !ok {
			return order{}, errEdit
		}
		e, err := decodeEdit(form)
		if err != nil {
			return order{}, err
		}
		o.edits = append(o.edits, e)
	}
	return o, nil
}

func appendOutcomes(b []byte, outcomes []outcome) []byte {
	for _, o := range outcomes {
		b = appendSized(b, o.append(nil))
	}
	return b
}

// decodeOutcomes reads the outcomes of so many edits, whose values stay parts of
// b.
func decodeOutcomes(b []byte, edits int) (outcomes []outcome, err error) {
	for len(b) > 0 {
		form, rest, ok := cutSized(b)
		if !ok {
			return nil, errEdit
		}
		o, err := decodeOutcome(form)
		if err != nil {
			return nil, err
		}
		outcomes, b = append(outcomes, o), rest
	}
	if len(outcomes) != edits {
		return nil, errEdit
	}
	return outcomes, nil
}
