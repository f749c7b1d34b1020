package transport

// A Sharer is a Transport that can also pass a body on as it is, to a receiver in
// the same process that keeps it: what several nodes hold is then held once, and
// never copied. A protocol whose nodes keep what they receive asks SharerOf, and
// goes by Send and Receive where sharing is not to be had.
type Sharer interface {
	Transport

	// SendShared is Send without the copy: from now on nobody writes into body, the
	// caller included. It is in one order with Send. A receiver that registered
	// with Receive gets a copy of its own.
	SendShared(to, service string, body []byte) error

	// ReceiveShared is Receive for a handler that can do with a body that is
	// shared: it may keep that one, and must not write into it. One that is not
	// shared is the handler's during the call, as with Receive.
	ReceiveShared(service string, h func(from string, body []byte, shared bool)) (stop func())

	// Itself returns the Sharer that it is called on. A type that embeds a Sharer
	// to change its Send has the methods above as well, which know nothing of the
	// change: by what it returns here SharerOf tells the two apart.
	Itself() Transport
}

// SharerOf returns t as a Sharer, if it is one by itself and does not just embed
// one.
func SharerOf(t Transport) (s Sharer, ok bool) {
	s, ok = t.(Sharer)
	if !ok || s.Itself() != t {
		return nil, false
	}
	return s, true
}
