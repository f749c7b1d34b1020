package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A snapshot of a machine is a version byte, the clock, every item with its key,
// each of both behind its length, and a key of length 0.
const imageVersion = 1

var errImage = errors.New("a snapshot is not in the format of this version")

// Snapshot freezes the table; what is written is the state of this moment, though
// Apply goes on.
func (m *machine) Snapshot() (write func(io.Writer) error, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	frozen, clock := m.table.freeze(), m.clock
	return func(w io.Writer) error { return writeImage(w, clock, frozen) }, nil
}

func writeImage(w io.Writer, clock int64, frozen []*bucket) error {
	out := bufio.NewWriterSize(w, 64<<10)
	buf := binary.BigEndian.AppendUint64([]byte{imageVersion}, uint64(clock))
	for _, b := range frozen {
		if b == nil {
			continue
		}
		for key, it := range b.items {
			if it.expired(time.UnixMilli(clock)) {
				continue
			}
			buf = appendSized(buf, []byte(key))
			buf = binary.BigEndian.AppendUint32(buf, uint32(itemOverhead+len(it.value)))
			buf = it.append(buf)
			if _, err := out.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if _, err := out.Write(appendSized(buf, nil)); err != nil {
		return err
	}
	return out.Flush()
}

// Restore replaces the state by one that was written. If it fails, the state is
// the old one.
func (m *machine) Restore(r io.Reader) error {
	t, clock, err := readImage(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return fmt.Errorf("%w: %w", errImage, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = t
	if clock > 0 {
		m.setClock(clock)
	}
	return nil
}

func readImage(in *bufio.Reader) (t *table, clock int64, err error) {
	var head [9]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, 0, err
	}
	clock = int64(binary.BigEndian.Uint64(head[1:]))
	if head[0] != imageVersion || clock < 0 || clock > maxExpiry {
		return nil, 0, errors.New("its head is wrong")
	}
	for t = newTable(); ; {
		key, err := readSized(in, maxKey)
		if err != nil {
			return nil, 0, err
		}
		if len(key) == 0 {
			break
		}
		form, err := readSized(in, itemOverhead+maxValue)
		if err != nil {
			return nil, 0, err
		}
		it, err := decodeItem(form)
		if err != nil {
			return nil, 0, err
		}
		t.set(string(key), it)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, 0, errors.New("there is more behind its end")
	}
	return t, clock, nil
}

// readSized reads what appendSized wrote.
func readSized(in io.Reader, most uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return nil, fmt.Errorf("%d bytes where there are at most %d", n, most)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	return b, err
}
