package ratelimit

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ByClientIP is a key for Middleware: the address of the client's connection, as
// "192.0.2.1" or, because a client of IPv6 has at least a /64 of addresses to
// choose from, as "2001:db8::/64". It believes no header field: behind a proxy
// every request has the proxy's address, and ByForwardedFor is what to use.
// Connections without an IP address, such as those over Unix sockets, have one
// key together.
func ByClientIP(r *http.Request) string {
	if addr, ok := parseHop(r.RemoteAddr); ok {
		return addressKey(addr)
	}
	return r.RemoteAddr
}

// maxHops is how many proxies a request may have passed.
const maxHops = 32

// ByForwardedFor returns a key for Middleware: the address, as of ByClientIP, of
// the client in front of one's own proxies, from the X-Forwarded-For field. Only
// what trusted proxies have appended is believed: the field is read from its end,
// over the addresses in trusted, up to the first that is not in it, which is the
// client's. If the connection itself is not from a trusted address, the field
// counts for nothing. What stands further left may be written by anybody.
//
// Where the field ends before, or holds something else than addresses, the key is
// that of the last trusted proxy. At most 32 proxies are followed.
func ByForwardedFor(trusted ...netip.Prefix) func(*http.Request) string {
	trusted = slices.Clone(trusted)
	for i, p := range trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			trusted[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return func(r *http.Request) string {
		client, ok := parseHop(r.RemoteAddr)
		if !ok {
			return r.RemoteAddr
		}
		fields := r.Header["X-Forwarded-For"]
		rest := ""
		for range maxHops {
			if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(client) }) {
				break
			}
			if rest == "" {
				if len(fields) == 0 {
					break
				}
				rest, fields = fields[len(fields)-1], fields[:len(fields)-1]
			}
			comma := strings.LastIndexByte(rest, ',')
			hop, ok := parseHop(strings.Trim(rest[comma+1:], " \t"))
			if !ok {
				break
			}
			client, rest = hop, rest[:max(0, comma)]
		}
		return addressKey(client)
	}
}

// parseHop reads an address with or without a port, and with or without brackets.
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(s); err == nil {
			addr = withPort.Addr()
		}
	}
	if err != nil && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		addr, err = netip.ParseAddr(s[1 : len(s)-1])
	}
	return addr.Unmap().WithZone(""), err == nil
}

// addressKey is the address, or the /64 that it is in.
func addressKey(addr netip.Addr) string {
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
