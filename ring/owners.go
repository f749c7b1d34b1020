package ring

import "slices"

// few is how many owners Owners finds without allocating.
const few = 16

// Owners is as [Ring.Owners].
func (s *Snapshot) Owners(buf []string, key string, n int) []string {
	return s.OwnersOf(buf, Hash(key), n)
}

// OwnersOf is as [Ring.Owners], for the keys with that [Hash].
func (s *Snapshot) OwnersOf(buf []string, hash uint64, n int) []string {
	buf, _ = s.owners(buf, hash&placeMask, n)
	return buf
}

// owners appends to buf the n nodes of a place, and returns how many of the
// points around it decided that.
func (s *Snapshot) owners(buf []string, at uint64, n int) (owners []string, steps int) {
	n = min(n, len(s.names))
	if n <= 0 {
		return buf, 0
	}
	var taken set
	if n > few {
		taken.grow(len(s.names))
	}
	points, i := s.members(), s.search(at)
	inZones := 0
	if s.zones > 1 {
		buf, steps = s.ownersInZones(buf, at, min(n, s.zones), &taken)
		inZones, n = steps, n-min(n, s.zones)
	}
	var point uint64
	steps = 0
	for behind, ahead := i-1, i; n > 0; steps++ {
		point, behind, ahead = next(points, at, behind, ahead)
		number := uint32(point & ownerMask)
		if taken.add(number) {
			buf = append(buf, s.names[number])
			n--
		}
	}
	return buf, max(steps, inZones)
}

// ownersInZones appends the first nodes in n different zones, and takes them.
func (s *Snapshot) ownersInZones(buf []string, at uint64, n int, taken *set) (owners []string, steps int) {
	var zones set
	if n > few {
		zones.grow(s.zones)
	}
	points, i := s.members(), s.search(at)
	var point uint64
	for behind, ahead := i-1, i; n > 0; steps++ {
		point, behind, ahead = next(points, at, behind, ahead)
		number := uint32(point & ownerMask)
		if zones.add(s.zoneOf[number]) {
			taken.add(number)
			buf = append(buf, s.names[number])
			n--
		}
	}
	return buf, steps
}

// A set holds numbers: up to few in a list, or once grown any number in a bit
// map.
type set struct {
	list  [few]uint32
	count int
	bits  []uint64
}

func (s *set) grow(n int) { s.bits = make([]uint64, (n+63)/64) }

// add puts x into the set and reports whether it was not there yet.
func (s *set) add(x uint32) bool {
	if s.bits != nil {
		word, bit := &s.bits[x/64], uint64(1)<<(x%64)
		if *word&bit != 0 {
			return false
		}
		*word |= bit
		return true
	}
	if slices.Contains(s.list[:s.count], x) {
		return false
	}
	s.list[s.count] = x
	s.count++
	return true
}
