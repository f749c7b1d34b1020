package wal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal"
)

func temporary() string {
	dir, err := os.MkdirTemp("", "wal")
	if err != nil {
		panic(err)
	}
	return dir
}

// A Log is given to raft.Start as its Storage, and closed after the node. Here the
// calls of a node are made by hand.
func ExampleLog() {
	dir := temporary()
	defer os.RemoveAll(dir)

	log, err := wal.Open(dir, wal.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = log.Save(raft.Batch{
		Hard:    raft.HardState{Term: 3, Vote: "b", Commit: 1},
		Entries: []raft.Entry{{Index: 1, Term: 3, Data: []byte("x = 1")}},
	})
	fmt.Println("saved:", err, "closed:", log.Close())

	log, err = wal.Open(dir, wal.Config{SegmentSize: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	state, _ := log.Load()
	fmt.Printf("term %d, vote %s, %s\n", state.Hard.Term, state.Hard.Vote, state.Entries[0].Data)
	// Output:
	// saved: <nil> closed: <nil>
	// term 3, vote b, x = 1
}

// Verify says what a directory holds, or where it is damaged.
func ExampleVerify() {
	dir := temporary()
	defer os.RemoveAll(dir)
	log, err := wal.Open(dir, wal.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range uint64(3) {
		_ = log.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: []raft.Entry{{Index: i + 1, Term: 1, Data: []byte("command")}}})
	}
	_ = log.Close()

	var report wal.Report
	report, err = wal.Verify(dir)
	fmt.Println(report.First, report.Last, report.Torn, err)

	// A bit rots in the middle.
	files, _ := filepath.Glob(filepath.Join(dir, "*.wal"))
	content, _ := os.ReadFile(files[0])
	content[600] ^= 1
	_ = os.WriteFile(files[0], content, 0o600)
	_, err = wal.Verify(dir)
	if damage := new(wal.CorruptError); errors.As(err, &damage) {
		fmt.Println(filepath.Base(damage.File), damage.Offset)
	}
	// Output:
	// 1 3 false <nil>
	// 0000000000000001.wal 592
}
