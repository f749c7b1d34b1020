package faultdisk

import (
	"maps"
	"slices"
)

// Crash ends the machine and starts it anew: what was not synced is lost in part,
// what was opened is closed, locks are free.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = d.surviving()
	d.durable = maps.Clone(d.names)
	d.pending = nil
	seen := map[*node]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		n := d.names[name]
		if seen[n] {
			continue
		}
		seen[n] = true
		n.platter = d.survivors(n)
		n.cache, n.dirty = slices.Clone(n.platter), nil
	}
	d.restart()
}

// Kill ends the process and not the machine: nothing is lost, but what was
// opened is closed, and locks are free.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restart()
}

func (d *Disk) restart() {
	d.life++
	d.down = false
	d.fault.crashIn = 0
	clear(d.locks)
}

// surviving returns the names that a crash leaves: of the changes that were not
// synced the first ones, or any.
func (d *Disk) surviving() map[string]*node {
	names := maps.Clone(d.durable)
	first, any := d.rand.IntN(len(d.pending)+1), d.rand.IntN(2) == 0
	for i, c := range d.pending {
		if any && d.rand.IntN(2) == 0 || !any && i < first {
			c.apply(names)
		}
	}
	return names
}

// survivors returns the contents of a file that a crash leaves.
func (d *Disk) survivors(n *node) []byte {
	left := slices.Clone(n.platter)
	switch d.rand.IntN(5) {
	case 0: // nothing of what was not synced
		return left
	case 1: // everything
		return slices.Clone(n.cache)
	case 2: // what was written first, and a part of one write more
		k := d.rand.IntN(len(n.dirty) + 1)
		for i, c := range n.dirty[:min(k+1, len(n.dirty))] {
			if i == k && len(c.data) > 0 {
				c.data = c.data[:d.rand.IntN(len(c.data))]
			}
			left = changed(left, c)
		}
		return left
	case 3: // each sector as it was at some time since
		return d.sectors(n, left, -1)
	default: // and one of them torn
		if len(n.cache) == 0 {
			return left
		}
		return d.sectors(n, left, d.rand.IntN((len(n.cache)+sector-1)/sector))
	}
}

// sectors takes each sector over as it was after some of the writes to it; the
// torn one is written up to somewhere in its middle.
func (d *Disk) sectors(n *node, left []byte, torn int) []byte {
	old := slices.Clone(left)
	writes := map[int]int{} // how many there were to each sector
	for _, c := range n.dirty {
		for s := int(c.at) / sector; len(c.data) > 0 && s <= (int(c.at)+len(c.data)-1)/sector; s++ {
			writes[s]++
		}
		if len(c.data) == 0 && d.rand.IntN(2) == 0 {
			left = changed(left, c)
		}
	}
	kept := map[int]int{}
	for _, s := range slices.Sorted(maps.Keys(writes)) {
		kept[s] = d.rand.IntN(writes[s] + 1)
	}
	for _, c := range n.dirty {
		for s := int(c.at) / sector; len(c.data) > 0 && s <= (int(c.at)+len(c.data)-1)/sector; s++ {
			if kept[s]--; kept[s] < 0 {
				continue
			}
			from, to := max(int(c.at), s*sector), min(int(c.at)+len(c.data), (s+1)*sector)
			left = changed(left, change{int64(from), c.data[from-int(c.at) : to-int(c.at)]})
		}
	}
	if torn >= 0 && torn*sector < min(len(old), len(left)) {
		end := min((torn+1)*sector, len(old), len(left))
		at := torn*sector + d.rand.IntN(end-torn*sector)
		copy(left[at:end], old[at:end])
	}
	return left
}
