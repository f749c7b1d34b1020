package tcp

// A call's number is the index of its slot in the low bits and a generation
// above: finding a call is an index, and a number is never used twice on a
// connection, so that a late response finds nobody.
const (
	slotBits = 20
	slotMask = 1<<slotBits - 1
	// lastGeneration retires a slot. Nobody gets there: it takes months at full
	// speed.
	lastGeneration = 1<<(64-slotBits) - 1
)

// A waiter is where one caller waits for its response. It is signalled exactly
// once for each time that it is in a table, unless its caller removes it.
type waiter struct {
	signal   chan struct{} // 1 slot
	status   status
	response []byte
	err      error // the connection's, when there is no response
}

// A callTable holds the calls of one connection that wait for their response.
// Its user locks it.
type callTable struct {
	slots []callSlot
	free  []uint32
	limit int
	count int
}

type callSlot struct {
	id     uint64
	waiter *waiter // nil while the slot is free
}

// add gives w a number; ok is false at the limit.
func (t *callTable) add(w *waiter) (id uint64, ok bool) {
	if t.count >= t.limit {
		return 0, false
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		if len(t.slots) > slotMask {
			return 0, false
		}
		i = uint32(len(t.slots))
		t.slots = append(t.slots, callSlot{id: uint64(i)})
	}
	s := &t.slots[i]
	s.id += 1 << slotBits
	s.waiter = w
	t.count++
	return s.id, true
}

// remove ends a call and returns its waiter, or nil if the call is over.
func (t *callTable) remove(id uint64) *waiter {
	i := id & slotMask
	if i >= uint64(len(t.slots)) || t.slots[i].id != id {
		return nil
	}
	s := &t.slots[i]
	w := s.waiter
	if w == nil {
		return nil
	}
	s.waiter = nil
	t.count--
	if id>>slotBits < lastGeneration {
		t.free = append(t.free, uint32(i))
	}
	return w
}

// clear ends all calls and returns their waiters.
func (t *callTable) clear() []*waiter {
	var all []*waiter
	for i := range t.slots {
		if w := t.slots[i].waiter; w != nil {
			all = append(all, w)
		}
	}
	*t = callTable{}
	return all
}
