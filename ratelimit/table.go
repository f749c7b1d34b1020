package ratelimit

// A table maps keys to the tat of their buckets: open addressing with linear
// probing, in one flat slice. It grows by half and is between 53 and 80% full.
type table[K comparable] struct {
	cells []cell[K]
	count int
	hand  int // the place that the next look for victims begins at
}

type cell[K comparable] struct {
	tat  int64
	key  K
	hash uint32 // 0 if the place is free
}

const smallestTable = 16

// home returns the place at which a look for the hash begins.
func (t *table[K]) home(hash uint32) int { return int(uint64(hash) * uint64(len(t.cells)) >> 32) }

// find returns the place of a key; -1 if it has none.
func (t *table[K]) find(hash uint32, key K) int {
	if t.count == 0 {
		return -1
	}
	i := t.home(hash)
	for ; t.cells[i].hash != 0; i = t.following(i) {
		if c := &t.cells[i]; c.hash == hash && c.key == key {
			return i
		}
	}
	return -1
}

func (t *table[K]) following(i int) int {
	if i++; i < len(t.cells) {
		return i
	}
	return 0
}

// crowded reports whether the table has to grow before it takes another key.
func (t *table[K]) crowded() bool { return 5*(t.count+1) > 4*len(t.cells) }

// grow makes room for more keys.
func (t *table[K]) grow() {
	old := *t
	size := max(smallestTable, len(old.cells)*3/2)
	*t = table[K]{cells: make([]cell[K], size)}
	for i := range old.cells {
		if old.cells[i].hash != 0 {
			t.add(old.cells[i])
		}
	}
}

// add adds a key that is not there. The table must not be crowded.
func (t *table[K]) add(c cell[K]) {
	i := t.home(c.hash)
	for t.cells[i].hash != 0 {
		i = t.following(i)
	}
	t.cells[i] = c
	t.count++
}

// remove frees the place i. Keys that had to go further because of it move up,
// so that a look may still end at a free place.
func (t *table[K]) remove(i int) {
	size := len(t.cells)
	for j := t.following(i); t.cells[j].hash != 0; j = t.following(j) {
		away := j - t.home(t.cells[j].hash) // how far from home the key at j is
		if away < 0 {
			away += size
		}
		gap := j - i
		if gap < 0 {
			gap += size
		}
		if away >= gap {
			t.cells[i] = t.cells[j]
			i = j
		}
	}
	t.cells[i] = cell[K]{}
	t.count--
}
