package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// A snapshot's file has a head that describes it, the contents in blocks with a
// checksum each, so that a part can be read and checked, and an end without which it
// is not complete.
const (
	snapshotMagic   = "parleySN"
	snapshotVersion = 1
	snapshotPrefix  = 16
	snapshotEnd     = 12
	blockSize       = 16 << 10
	crcSize         = 4
	// maxInfo is the longest description: 4,000 names of the longest kind.
	maxInfo = 1 << 20
)

func appendInfo(b []byte, info raft.SnapshotInfo) ([]byte, error) {
	b = append(b, snapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, snapshotVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.AppendUvarint(b, info.Index)
	b = binary.AppendUvarint(b, info.Term)
	for _, list := range [][]string{info.Membership.Voters, info.Membership.Learners, info.Membership.Outgoing} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, name := range list {
			b = binary.AppendUvarint(b, uint64(len(name)))
			b = append(b, name...)
		}
	}
	n := len(b) - snapshotPrefix
	if n > maxInfo {
		return nil, fmt.Errorf("wal: a membership of %d bytes, at most %d", n, maxInfo)
	}
	binary.LittleEndian.PutUint32(b[12:], uint32(n))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// decodeInfo reads the description behind a head's first 16 bytes.
func decodeInfo(b []byte) (info raft.SnapshotInfo, ok bool) {
	p := payload{b: b}
	info.Index, info.Term = p.uvarint(), p.uvarint()
	for _, list := range []*[]string{&info.Membership.Voters, &info.Membership.Learners, &info.Membership.Outgoing} {
		count := p.uvarint()
		if count > uint64(len(p.b)) {
			return info, false
		}
		for range count {
			*list = append(*list, string(p.take(p.uvarint())))
		}
	}
	return info, !p.bad && len(p.b) == 0
}

// A snapshotLayout says where in its file the contents of a snapshot are.
type snapshotLayout struct {
	info raft.SnapshotInfo
	head int64  // length of the head
	crc  uint32 // of the head
	size int64  // of the contents
}

// blockAt returns where in the file a block begins.
func (l *snapshotLayout) blockAt(block int64) int64 { return l.head + block*(blockSize+crcSize) }

func (l *snapshotLayout) blocks() int64 { return (l.size + blockSize - 1) / blockSize }

// blockSum returns the checksum of a block, or with the number of blocks that of
// the end.
func blockSum(head uint32, block int64, data []byte) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:], head)
	binary.LittleEndian.PutUint64(b[4:], uint64(block))
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, data)
}

// readLayout reads head and end of a snapshot. It allocates no more than the file
// is long.
func readLayout(f disk.File, name string) (*snapshotLayout, error) {
	corrupt := func(offset int64, reason string) error { return &CorruptError{name, offset, reason} }
	length, err := f.Size()
	if err != nil {
		return nil, err
	}
	var prefix [snapshotPrefix]byte
	if length < snapshotPrefix+crcSize+snapshotEnd {
		return nil, corrupt(0, "the file is shorter than an empty snapshot")
	}
	if err := readFull(f, prefix[:], 0); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(prefix[12:]))
	if string(prefix[:8]) != snapshotMagic || n > maxInfo || snapshotPrefix+n+crcSize+snapshotEnd > length {
		return nil, corrupt(0, "this is not the head of a snapshot")
	}
	head := make([]byte, snapshotPrefix+n+crcSize)
	if err := readFull(f, head, 0); err != nil {
		return nil, err
	}
	content, sum := head[:snapshotPrefix+n], binary.LittleEndian.Uint32(head[snapshotPrefix+n:])
	if crc32.Checksum(content, castagnoli) != sum {
		return nil, corrupt(0, "the checksum of the head is wrong")
	}
	if v := binary.LittleEndian.Uint32(prefix[8:]); v != snapshotVersion {
		return nil, corrupt(0, fmt.Sprintf("version %d of the format, only %d is known", v, snapshotVersion))
	}
	info, ok := decodeInfo(content[snapshotPrefix:])
	if !ok {
		return nil, corrupt(0, "the description cannot be read, though its checksum is right")
	}
	var end [snapshotEnd]byte
	if err := readFull(f, end[:], length-snapshotEnd); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(end[:])
	l := &snapshotLayout{info: info, head: int64(len(head)), crc: sum, size: int64(size)}
	if size > uint64(length) || l.blockAt(0)+l.size+l.blocks()*crcSize+snapshotEnd != length ||
		blockSum(sum, l.blocks(), end[:8]) != binary.LittleEndian.Uint32(end[8:]) {
		return nil, corrupt(length-snapshotEnd, "the end of the snapshot is wrong")
	}
	return l, nil
}

// readBlock returns the contents of a block, checked, in the buffer.
func (l *snapshotLayout) readBlock(f disk.File, name string, block int64, buffer []byte) ([]byte, error) {
	n := min(blockSize, l.size-block*blockSize)
	b := buffer[:n+crcSize]
	if err := readFull(f, b, l.blockAt(block)); err != nil {
		return nil, err
	}
	if blockSum(l.crc, block, b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, &CorruptError{name, l.blockAt(block), "the checksum of the block is wrong"}
	}
	return b[:n], nil
}

// check reads all blocks.
func (l *snapshotLayout) check(f disk.File, name string) error {
	buffer := make([]byte, blockSize+crcSize)
	for block := range l.blocks() {
		if _, err := l.readBlock(f, name, block, buffer); err != nil {
			return err
		}
	}
	return nil
}

// readFull reads all of p; a file that is too short is an error as well.
func readFull(f disk.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
