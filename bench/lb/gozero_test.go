//go:build gozero

package lb_test

import (
	"testing"

	"github.com/zeromicro/go-zero/core/logx"
	_ "github.com/zeromicro/go-zero/zrpc" // registers p2c_ewma
)

func goZero() []impl {
	return []impl{{"go-zero", func(b *testing.B, n int) func() {
		logx.Disable() // it writes statistics into the output
		return grpcCall(grpcPicker(b, "p2c_ewma", "{}", n))
	}}}
}
