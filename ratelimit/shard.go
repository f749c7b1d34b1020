package ratelimit

import "sync"

// A shard holds a part of the keys of a Keyed. Everything in it is guarded by mu.
//
// A key that is not in the table has the bucket that its slot of faded says, which
// is full unless keys of that slot have been evicted: then it is as empty as the
// emptiest of them was. So no key that was limited comes back less so, and what
// that costs is that others in the slot may find less than a full bucket, for as
// long as theirs would have taken to fill.
type shard[K comparable] struct {
	mu     sync.Mutex
	meter  meter
	origin int64 // where the meter's clock is 0, on the limiter's clock
	table  table[K]
	most   int             // keys in the table
	faded  []int64         // a tat for each slot; nil until a key was evicted
	own    map[K]*ownLimit // of the keys that have a Limiter, which are not in the table
	moves  uint64          // of the meter or the origin: tickets from before are void

	evicted, early uint64
}

// clock returns what the meter's clock shows, moving the origin if need be.
func (s *shard[K]) clock(now int64) int64 {
	elapsed := now - s.origin
	switch {
	case uint64(elapsed+s.meter.reach) <= uint64(2*s.meter.reach):
	case elapsed < 0 && s.table.count+len(s.faded) > 0:
		return full // before all that happened here: nothing is left of what was used
	default:
		s.move(s.meter, now)
		elapsed = 0
	}
	return elapsed * s.meter.scale
}

// move puts the shard on the clock of meter m with its origin at now.
func (s *shard[K]) move(m meter, now int64) {
	elapsed := max(-s.meter.reach, min(2*s.meter.reach, now-s.origin))
	v := elapsed * s.meter.scale
	for i := range s.table.cells {
		c := &s.table.cells[i]
		c.tat = s.meter.rescale(c.tat, v, &m, 0)
	}
	for i := range s.faded {
		s.faded[i] = s.meter.rescale(s.faded[i], v, &m, 0)
	}
	s.meter, s.origin = m, now
	s.moves++
}

// attempt takes n tokens of a key, under its own limit if it has one.
func (s *shard[K]) attempt(now int64, hash uint32, key K, n int) ticket {
	if o := s.own[key]; o != nil {
		t, _ := o.limiter.take(now, n)
		return t
	}
	return s.take(now, hash, key, n)
}

// decision is the answer that a ticket stands for.
func (s *shard[K]) decision(t *ticket) Decision {
	if t.bucket != nil {
		return t.decide()
	}
	return s.meter.decision(t)
}

// take takes n tokens from the bucket of a key without a limit of its own.
func (s *shard[K]) take(now int64, hash uint32, key K, n int) ticket {
	v := s.clock(now)
	i := s.table.find(hash, key)
	if i >= 0 {
		t := s.meter.try(s.table.cells[i].tat, v, n)
		s.table.cells[i].tat = t.left()
		return t
	}
	t := s.meter.try(s.fadedTat(hash), v, n)
	if t.outcome == taken {
		s.makeRoom(v)
		s.table.add(cell[K]{t.next, key, hash})
	}
	return t
}

// left is the tat that the attempt leaves behind.
func (t *ticket) left() int64 {
	if t.outcome == taken {
		return t.next
	}
	return t.tat
}

func (s *shard[K]) fadedTat(hash uint32) int64 {
	if s.faded == nil {
		return full
	}
	return s.faded[hash%uint32(len(s.faded))]
}

// makeRoom makes room for one more key.
func (s *shard[K]) makeRoom(v int64) {
	if s.table.count >= s.most {
		s.evict(v)
	} else if s.table.crowded() {
		s.sweep(v)
	}
	for s.table.crowded() {
		s.table.grow()
	}
}

// sweep removes the keys whose buckets are full, if that makes the room that
// growing would: a quarter of the table. Counting first costs little and keeps
// it from being done in vain for a few keys at a time.
func (s *shard[K]) sweep(v int64) {
	idle := 0
	cells := s.table.cells
	for i := range cells {
		if cells[i].hash != 0 && cells[i].tat <= v {
			idle++
		}
	}
	if 4*idle < s.table.count {
		return
	}
	for i := 0; i < len(cells); {
		if cells[i].hash != 0 && cells[i].tat <= v {
			s.fade(i) // another key may have moved up into this place
		} else {
			i++
		}
	}
}

// maxLook bounds how many keys are looked at to find the one to evict.
const maxLook = 16

// evict removes the key, of the next few around the hand, with the fullest bucket.
func (s *shard[K]) evict(v int64) {
	t := &s.table
	victim := -1
	for looked := 0; looked < min(maxLook, t.count); t.hand = t.following(t.hand) {
		if t.cells[t.hand].hash == 0 {
			continue
		}
		looked++
		if victim < 0 || t.cells[t.hand].tat < t.cells[victim].tat {
			victim = t.hand
		}
		if t.cells[victim].tat <= v {
			break
		}
	}
	if t.cells[victim].tat > v {
		s.early++
	}
	s.fade(victim)
}

// fade removes the key at place i.
func (s *shard[K]) fade(i int) {
	s.remember(s.table.cells[i].hash, s.table.cells[i].tat)
	s.table.remove(i)
	s.evicted++
}

// remember makes the slot of a key that is not kept remember its tat. That is done
// for a full bucket, too: the next call may come with an earlier time.
func (s *shard[K]) remember(hash uint32, tat int64) {
	if s.faded == nil {
		s.faded = make([]int64, max(16, s.most/16))
		for i := range s.faded {
			s.faded[i] = full
		}
	}
	slot := &s.faded[hash%uint32(len(s.faded))]
	*slot = max(*slot, tat)
}

// refund gives back what may be given back of a ticket.
func (s *shard[K]) refund(now int64, hash uint32, key K, t *ticket) {
	i := s.table.find(hash, key)
	if i < 0 {
		return
	}
	c := &s.table.cells[i]
	c.tat = min(c.tat, s.meter.backTo(c.tat, t, s.clock(now)))
}
