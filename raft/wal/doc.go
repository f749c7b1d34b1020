// Package wal keeps what a Raft node must not forget on disk: the hard state, the
// log and the snapshots, in one directory a node.
//
//	log, err := wal.Open("/var/lib/service/node-1", wal.Config{})
//	node, err := raft.Start(raft.Config{Storage: log, ...})
//	...
//	err = errors.Join(node.Close(), log.Close())
//
// [Log] is the raft.Storage, [Verify] checks a directory without opening it. To keep
// nothing, use raft.MemoryStorage.
//
// # Guarantees
//
//   - What Save returned nil for, unless it was Lazy, is there after a crash of the
//     process or of the machine. Term, vote and entries of a batch are one record:
//     there as a whole or not at all.
//   - What was being written is cut off, or there in full batches, in order. What
//     Open found is on the disk when Open returns, so it stays.
//   - Damage is never passed over: Open returns a *CorruptError with the file and
//     the offset. It tells damage from a torn write by what comes after: each record
//     says how far the segment had been synced when it was written.
//   - A failed write or sync is final for that Log: no later sync is believed, for
//     after the first failure the kernel counts the pages as clean. Open writes
//     what may have been lost that way once more.
//   - A full disk shows when a segment begins, before anything is written to the log.
//     Nothing that was acknowledged is lost, and there is no damage; open the
//     directory again when there is space.
//   - A snapshot is the newest one when it is on the disk as a whole. The one before
//     is kept, with the log from there on: if the newest is damaged, Open goes back
//     to that. Readers get checked contents or an error.
//   - One process has a directory open. The lock ends with the process, however that
//     ends.
//
// They are tested on a simulated disk that loses what is not synced by prefix, by
// sector and within a sector, forgets pages after failed syncs, is full, rots and
// lies; with clusters of nodes on such disks; and with processes that are killed.
//
// # What is taken for granted
//
// That fdatasync and fsync do what they say. Below a disk that lies, Open finds an
// earlier state, or damage. That a write harms no bytes beside those written, as
// disks and file systems promise today (SQLite calls it powersafe overwrite). That
// a directory that was synced has the names it had then, also if an earlier sync of
// it failed: file systems with a journal stop taking writes after that.
//
// Damage to the very last record cannot be told from a torn write as long as nothing
// was written after it: it is cut. The next batch ends that, whatever it holds, lazy
// or not; Close writes a record for that purpose, and a node writes one within a
// heartbeat, with the new commit index.
//
// # What it does not do
//
// Encrypt, compress, copy to other machines, or repair: a node with a damaged
// directory gives it up, and joins the cluster anew under another name, or with its
// membership taken away and given again. It keeps entries once, on disk; the node
// holds those since the last snapshot in memory. Files are for the owner of the process
// only, mode 0600. On systems other than Linux, space is taken from the disk by
// writing zeros, and syncs write times as well; Windows and Unix have the lock,
// others do not.
//
// # Cost
//
// Save is one write and one fdatasync, on a virtual disk some 120 us for 1 entry as
// for 64, 250 us for 64 KiB and 1 ms for 1 MiB: group commit is to give it many
// entries. Its own work is some 100 ns a batch, 10 ns an entry and 0.1 ns a byte,
// without allocation for batches of up to 4 MiB. When a segment is full, a sync of its
// successor and one of the directory come on top. Open reads all segments, at some
// 450 MB/s, and the newest snapshot; memory: one segment, and what it returns. On
// disk, the log takes a multiple of Config.SegmentSize, 16 MiB, up to two segments more
// that wait to be used again, and two snapshots.
//
// # Format
//
// All numbers are little endian; uvarint is that of encoding/binary; CRC is CRC-32C.
// A directory holds
//
//	0000000000000001.wal                    segments of the log, numbered from 1
//	0000000000000001.spare                  segments to be used again
//	000000000000002a-0000000000000003.snap  snapshots, by index and term
//	the same, and -1.tmp                    snapshots being written, numbered from 1
//	LOCK                                    the lock; empty
//
// and files with other names are left alone.
//
// A segment has a head of 512 bytes,
//
//	0    "parleyWL"
//	8    uint32  version of the format: 1
//	12   uint32  0
//	16   uint64  number of the segment
//	24   uint64  offset at which the segment before ends, 0 for the first
//	32   uint32  crc of the last record there
//	36   uint32  0
//	40   uint64  salt, drawn at random
//	48   uint64  index that the next entry has at most
//	56           hard state, then zeros
//	508  uint32  CRC of bytes 0 to 507
//
// where a hard state is uvarint term, uvarint commit, uvarint length of the vote, and
// the vote. From offset 512 on follow records, each at a multiple of 8, the rest filled
// with zeros:
//
//	0    uint32  crc: CRC of salt (8 bytes), offset of the record (8) and bytes 4 to 19
//	4    uint32  crc of the record before; for the first, CRC of the head
//	8    uint32  CRC of the payload
//	12   uint32  length of the payload
//	16   uint32  offset up to which the segment had been synced
//	20           payload
//
// A payload is one batch: a hard state; uvarint Restart; uvarint number of entries;
// if that is not 0, uvarint index of the first; and for each entry a byte with its
// kind, uvarint term, uvarint length, and its data. A batch with Restart drops all
// entries before it, entries replace those from the index of the first on. Each Open
// begins with a record that repeats the hard state.
//
// The log ends where no record follows that is valid and names the crc of the one
// before. For all segments but the last, that has to be where the head of the next
// one says. In the last one, there must be no valid head of a record behind the end,
// at a multiple of 8, that says that more was synced: then this is no torn write but
// damage. Segments before a gap in the numbers are left from an interrupted Compact.
// The first entry, or the next one if there is none, has to follow the newest snapshot
// directly or lie before its end.
//
// A snapshot has a head, blocks, and an end:
//
//	0    "parleySN"
//	8    uint32  version of the format: 1
//	12   uint32  length n of the description
//	16           description: uvarint index, uvarint term; voters, learners and outgoing
//	             voters, each as uvarint count, and for each name uvarint length and name
//	16+n uint32  CRC of all that: h
//	...          blocks of 16384 bytes, the last one shorter, each followed by uint32:
//	             CRC of h (4 bytes), the block's number from 0 (8), and its contents
//	end  uint64  length of the contents
//	     uint32  CRC of h, the number of blocks (8 bytes), and that length
//
// # Files
//
// log.go: Log, Open and Close. save.go: Save, Compact, and how segments begin.
// record.go, segment.go, snapshot_format.go: the formats. scan.go: the records of one
// segment, and what lies behind the last. recover.go: a directory as a whole.
// snapshot.go: snapshots. verify.go: Verify and its Report. config.go, errors.go.
// internal/disk is what is asked of a file system, internal/faultdisk one with
// faults.
//
// After: Pillai et al., "All File Systems Are Not Created Equal", 2014; Rebello et al.,
// "Can Applications Recover from fsync Failures?", 2020; Alagappan et al.,
// "Protocol-Aware Recovery for Consensus-Based Storage", 2018.
package wal
