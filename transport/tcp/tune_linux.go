package tcp

import (
	"net"
	"syscall"
)

const (
	tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT of linux/tcp.h
	notSent         = 32 << 10
)

// keepUnsent keeps what waits to be sent here, where small frames overtake large
// ones, instead of in the kernel's send buffer. It costs nothing if it fails.
func keepUnsent(conn *net.TCPConn) {
	system, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = system.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, notSent)
	})
}
