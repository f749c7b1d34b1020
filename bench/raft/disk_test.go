package raft_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkBareDisk is what the disk alone makes of one caller: 64 bytes written
// to each of so many files and synced, all at once, until a majority of them is
// done. Who has not finished by then goes on, and is asked again when it has, for
// all that came meanwhile: as three servers on one disk do, without anything of
// them but that. It is no bound: whoever gets the processors in a better order, for a
// sync holds one until it is done, may be quicker.
func BenchmarkBareDisk(b *testing.B) {
	for _, files := range []int{1, 3} {
		b.Run(fmt.Sprintf("files=%d/impl=fdatasync", files), func(b *testing.B) { bareDisk(b, files) })
	}
}

func bareDisk(b *testing.B, files int) {
	dir, err := os.MkdirTemp(".", "disk")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	asked := make([]chan int, files)
	done := make(chan int, 2*files)
	for i := range asked {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		zeros := make([]byte, 1<<20)
		for at := range int64(16) {
			if _, err := f.WriteAt(zeros, at<<20); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		asked[i] = make(chan int, 1)
		go func() {
			record := make([]byte, 64)
			for round := range asked[i] {
				if _, err := f.WriteAt(record, int64(round)%(1<<18)*64); err != nil {
					b.Error(err)
				}
				if err := syscall.Fdatasync(int(f.Fd())); err != nil {
					b.Error(err)
				}
				done <- round
			}
			done <- -1
		}()
	}
	var samples []time.Duration
	b.ResetTimer()
	for round := range b.N {
		began := time.Now()
		for _, a := range asked {
			select {
			case <-a: // it has not begun with the last one: this one takes it along
			default:
			}
			a <- round
		}
		for synced := 0; synced <= files/2; {
			if <-done == round {
				synced++
			}
		}
		samples = append(samples, time.Since(began))
	}
	b.StopTimer()
	for _, a := range asked {
		close(a)
	}
	for ended := 0; ended < files; {
		if <-done < 0 {
			ended++
		}
	}
	slices.Sort(samples)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(samples[len(samples)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(samples[len(samples)*99/100])/1e3, "p99-µs")
}
