package tcp_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/parley-go/parley/transport/tcp"
)

func BenchmarkCall(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			client, server := plainPair()
			defer client.Close()
			defer server.Close()
			body := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Call(b.Context(), "b", "echo", body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCallParallel(b *testing.B) {
	client, server := plainPair()
	defer client.Close()
	defer server.Close()
	body := make([]byte, 16)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Call(b.Context(), "b", "echo", body); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSend(b *testing.B) {
	client, server := plainPair()
	defer client.Close()
	defer server.Close()
	last := make(chan struct{})
	server.Receive("s", func(string, []byte) {})
	server.Receive("last", func(string, []byte) { close(last) })
	body := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		sendAll(client, "s", body)
	}
	sendAll(client, "last", nil)
	<-last
}

// sendAll sends as soon as there is room.
func sendAll(client *tcp.Transport, service string, body []byte) {
	for client.Send("b", service, body) != nil {
		runtime.Gosched()
	}
}
