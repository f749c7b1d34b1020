package tcp_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/tcp"
	"github.com/parley-go/parley/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Network {
				cluster := newCluster(t, mode)
				return transporttest.Network{
					MaxCalls: 4096, // the default
					Join:     func(name string) transport.Transport { return cluster.join(name, tcp.Config{}) },
				}
			})
		})
	}
}
