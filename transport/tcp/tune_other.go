//go:build !linux

package tcp

import "net"

// keepUnsent has nothing to set on this system.
func keepUnsent(*net.TCPConn) {}
