package wal

import "fmt"

// The bounds of what a Log takes. What is beyond them fails with an error that
// says so, and is not written.
const (
	// MaxBatch is the largest batch, in bytes as stored: some ten bytes an entry
	// and its Data.
	MaxBatch = 1 << 30
	// MaxName is the longest Vote, in bytes.
	MaxName = 255
)

const (
	defaultSegmentSize = 16 << 20
	minSegmentSize     = 4 << 10
	maxSegmentSize     = 1 << 30
)

// Config sets up a Log. The zero value is right for one group a node.
type Config struct {
	// SegmentSize is how many bytes a file of the log takes from the disk when it
	// is begun. Default 16 MiB, 4 KiB to 1 GiB. A batch that is larger gets a
	// segment of its own size. With larger segments there are fewer of the pauses,
	// of some disk writes, when one begins; with smaller ones a node of many groups
	// takes less space, and Open reads less: it holds one segment in memory, and
	// reads the last one to its end, used or not.
	SegmentSize int64
}

func (c Config) withDefaults() (Config, error) {
	if c.SegmentSize == 0 {
		c.SegmentSize = defaultSegmentSize
	}
	if c.SegmentSize < minSegmentSize || c.SegmentSize > maxSegmentSize {
		return c, fmt.Errorf("wal: Config.SegmentSize is %d, it must be %d to %d", c.SegmentSize, minSegmentSize, maxSegmentSize)
	}
	return c, nil
}
