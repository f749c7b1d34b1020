package transporttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
	"github.com/parley-go/parley/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A test of an implementation calls Run with a function that makes such a Network,
// or, where the nodes live in a synctest bubble, the Run of each case in one.
func ExampleNetwork() {
	nodes := mem.NewNetwork()
	network := transporttest.Network{
		MaxCalls: 4096,
		Join: func(name string) transport.Transport {
			node, err := nodes.Join(name)
			if err != nil {
				panic(err)
			}
			return node
		},
	}
	node := network.Join("a")
	defer node.Close()
	fmt.Println(node.Local())
	// Output: a
}

func ExampleCase() {
	for _, c := range transporttest.Cases()[:2] {
		fmt.Println(c.Name)
	}
	// Output:
	// SendArrives
	// SendKeepsOrderOfEachSender
}

// TestFaultsAreFound puts transports through the suite that are broken in
// one way each, and names the cases that must find it.
func TestFaultsAreFound(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			for name := range strings.FieldsSeq(f.found) {
				i := slices.IndexFunc(transporttest.Cases(), func(c transporttest.Case) bool { return c.Name == name })
				require.GreaterOrEqual(t, i, 0, "no case is called %s", name)
				synctest.Test(t, func(t *testing.T) {
					if failures := run(t, transporttest.Cases()[i], f); len(failures) == 0 {
						t.Errorf("%s passes", name)
					}
				})
			}
		})
	}
}

// TestNoFault shows that it is the faults that the cases above find, not the way
// in which they are put there.
func TestNoFault(t *testing.T) {
	for _, c := range transporttest.Cases() {
		synctest.Test(t, func(t *testing.T) {
			if failures := run(t, c, fault{}); len(failures) > 0 {
				t.Errorf("%s fails: %s", c.Name, failures)
			}
		})
	}
}

func TestNetworkIsChecked(t *testing.T) {
	join := func(string) transport.Transport { return nil }
	for field, n := range map[string]transporttest.Network{
		"Join":       {},
		"MaxMessage": {Join: join, MaxMessage: 1023},
		"MaxCalls":   {Join: join, MaxCalls: 999},
	} {
		failures := record(t, func(tb testing.TB) { transporttest.Cases()[0].Run(tb, n) })
		require.Len(t, failures, 1)
		require.Contains(t, failures[0], "Network."+field)
	}
}

// run runs a case on mem with a fault, and returns what it complained of.
func run(t *testing.T, c transporttest.Case, f fault) []string {
	network := mem.NewNetwork()
	return record(t, func(tb testing.TB) {
		c.Run(tb, transporttest.Network{
			MaxMessage: f.maxMessage,
			Patience:   time.Second,
			Join: func(name string) transport.Transport {
				node, err := network.Join(name)
				require.NoError(tb, err)
				b := &broken{Transport: node, stops: map[string]func(){}}
				if f.breaks != nil {
					f.breaks(b)
				}
				return b
			},
		})
	})
}

// A recorder is a testing.TB whose failures are not those of the test.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func record(t *testing.T, f func(testing.TB)) []string {
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { f(r) }) // which Fatalf may end
	wg.Wait()
	return r.failures
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// A broken is a Transport with some methods replaced.
type broken struct {
	transport.Transport
	send    func(to, service string, body []byte) error
	receive func(service string, h receiver) func()
	shared  func(service string, h sharedReceiver) func()
	call    func(ctx context.Context, to, service string, request []byte) ([]byte, error)
	serve   func(service string, h server) func()
	close   func() error

	mu    sync.Mutex
	stops map[string]func()
}

type (
	receiver       = func(from string, body []byte)
	sharedReceiver = func(from string, body []byte, shared bool)
	server         = func(ctx context.Context, from string, request []byte) ([]byte, error)
)

func (b *broken) Send(to, service string, body []byte) error {
	if b.send != nil {
		return b.send(to, service, body)
	}
	return b.Transport.Send(to, service, body)
}

func (b *broken) Receive(service string, h receiver) func() {
	if b.receive != nil {
		return b.receive(service, h)
	}
	return b.Transport.Receive(service, h)
}

func (b *broken) SendShared(to, service string, body []byte) error {
	return b.Transport.(transport.Sharer).SendShared(to, service, body)
}

func (b *broken) ReceiveShared(service string, h sharedReceiver) func() {
	if b.shared != nil {
		return b.shared(service, h)
	}
	return b.Transport.(transport.Sharer).ReceiveShared(service, h)
}

func (b *broken) Itself() transport.Transport { return b }

func (b *broken) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if b.call != nil {
		return b.call(ctx, to, service, request)
	}
	return b.Transport.Call(ctx, to, service, request)
}

func (b *broken) Serve(service string, h server) func() {
	if b.serve != nil {
		return b.serve(service, h)
	}
	return b.Transport.Serve(service, h)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Transport.Close()
}

// remember keeps the stop function of the last registration of a service.
func (b *broken) remember(service string, stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops[service] = stop
}

func (b *broken) last(service string) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stops[service]
}

// answering has every handler's answer, and the context it works with, go
// through change.
func (b *broken) answering(change func(h server) server) {
	b.serve = func(service string, h server) func() { return b.Transport.Serve(service, change(h)) }
}

// result has every result of a call go through change.
func (b *broken) result(change func(response []byte, err error) ([]byte, error)) {
	b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
		return change(b.Transport.Call(ctx, to, service, request))
	}
}

// A fault is a way to break a Transport.
type fault struct {
	name       string
	found      string // the names of cases
	maxMessage int    // given to the suite in place of the real one
	breaks     func(b *broken)
}

func faults() []fault {
	return slices.Concat(sendFaults(), callFaults(), contextFaults(), limitFaults(), stopFaults(), closeFaults())
}

func sendFaults() []fault {
	return []fault{
		{name: "messages are lost", found: "SendArrives", breaks: func(b *broken) {
			b.send = func(string, string, []byte) error { return nil }
		}},
		{name: "messages arrive twice", found: "SendKeepsOrderOfEachSender", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				b.Transport.Send(to, service, body)
				return b.Transport.Send(to, service, body)
			}
		}},
		{name: "messages overtake each other", found: "SendKeepsOrderOfEachSender", breaks: func(b *broken) {
			var n atomic.Int32
			b.send = func(to, service string, body []byte) error {
				if n.Add(1) == 100 {
					body = bytes.Clone(body)
					time.AfterFunc(time.Millisecond, func() { b.Transport.Send(to, service, body) })
					return nil
				}
				return b.Transport.Send(to, service, body)
			}
		}},
		{name: "what is used again is told to be shared", found: "SharedBodyStaysAsItIs", breaks: func(b *broken) {
			b.shared = func(service string, h sharedReceiver) func() {
				return b.Transport.(transport.Sharer).ReceiveShared(service, func(from string, body []byte, _ bool) { h(from, body, true) })
			}
		}},
		{name: "a shared body is given to anybody", found: "SharedBodyIsCopiedForReceive", breaks: func(b *broken) {
			b.receive = func(service string, h receiver) func() {
				return b.Transport.(transport.Sharer).ReceiveShared(service, func(from string, body []byte, _ bool) { h(from, body) })
			}
		}},
		{name: "messages of one sender are handled at once", found: "SendKeepsOrderOfEachSender", breaks: func(b *broken) {
			b.receive = func(service string, h receiver) func() {
				return b.Transport.Receive(service, func(from string, body []byte) { go h(from, bytes.Clone(body)) })
			}
		}},
		{name: "bodies are sent after Send", found: "SendCopiesBody", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				return b.Transport.Send(to, service, make([]byte, len(body))) // as they are by then
			}
		}},
		{name: "bodies lie side by side", found: "ReceivedBodyIsTheHandlersOwn", breaks: func(b *broken) {
			memory := bytes.Repeat(filled(40), 100)
			b.receive = func(service string, h receiver) func() {
				return b.Transport.Receive(service, func(from string, body []byte) {
					h(from, memory[:len(body)])
					memory = memory[len(body):]
				})
			}
		}},
		{name: "handler runs on the sender's stack", found: "SendNeverRunsHandlerOnCallersStack", breaks: func(b *broken) {
			var own receiver
			b.receive = func(_ string, h receiver) func() { own = h; return func() {} }
			b.send = func(to, service string, body []byte) error {
				if to == b.Local() {
					own(to, body)
					return nil
				}
				return b.Transport.Send(to, service, body)
			}
		}},
		{name: "first message is lost", found: "FirstContactFromBothSides", breaks: func(b *broken) {
			var met atomic.Bool
			b.send = func(to, service string, body []byte) error {
				if !met.Swap(true) {
					return nil
				}
				return b.Transport.Send(to, service, body)
			}
		}},
		{name: "sender is not named", found: "SendArrives Names", breaks: func(b *broken) {
			b.receive = func(service string, h receiver) func() {
				return b.Transport.Receive(service, func(_ string, body []byte) { h("", body) })
			}
		}},
	}
}

func callFaults() []fault {
	return []fault{
		{name: "caller is not named", found: "CallIsAnswered HandlerCallsBackIntoItsCaller", breaks: func(b *broken) {
			b.answering(func(h server) server {
				return func(ctx context.Context, _ string, request []byte) ([]byte, error) { return h(ctx, "", request) }
			})
		}},
		{name: "response buffer is used again", found: "ResponseBelongsToCaller", breaks: func(b *broken) {
			var buffer [1024]byte
			b.result(func(response []byte, err error) ([]byte, error) {
				return buffer[:copy(buffer[:], response)], err
			})
		}},
		{name: "handlers run one at a time", found: "HandlerCallsBackIntoItsCaller ThousandCallsAtOnce BlockedHandlerDelaysNobody", breaks: func(b *broken) {
			turn := make(chan struct{}, 1)
			b.answering(func(h server) server {
				return func(ctx context.Context, from string, request []byte) ([]byte, error) {
					turn <- struct{}{}
					defer func() { <-turn }()
					return h(ctx, from, request)
				}
			})
		}},
		{name: "large responses are cut short", found: "LargeBesideSmall ResponseAtLimitAndOver", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) { return response[:min(len(response), 64<<10)], err })
		}},
		{name: "handler's error loses its type", found: "HandlersErrorIsRemote HandlerMayExit CallToItself", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if remote := new(transport.RemoteError); errors.As(err, &remote) {
					err = errors.New(remote.Message)
				}
				return response, err
			})
		}},
		{name: "handler's error is taken for the call's own", found: "HandlersSentinelIsOnlyText", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if err != nil && strings.HasSuffix(err.Error(), transport.ErrNoService.Error()) {
					err = transport.ErrNoService
				}
				return response, err
			})
		}},
		{name: "lack of a service looks like a handler's error", found: "NoService StopRemovesHandler", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if errors.Is(err, transport.ErrNoService) {
					err = &transport.RemoteError{Message: err.Error()}
				}
				return response, err
			})
		}},
	}
}

func contextFaults() []fault {
	return []fault{
		{name: "ended context is sent out", found: "EndedContextReturnsAtOnce", breaks: func(b *broken) {
			b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
				if ctx.Err() != nil {
					b.Transport.Call(context.Background(), to, service, request)
				}
				return b.Transport.Call(ctx, to, service, request)
			}
		}},
		{name: "cause is lost", found: "EndedContextReturnsAtOnce DeadlineEndsCallAndHandler CancelEndsHandler", breaks: func(b *broken) {
			b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
				response, err := b.Transport.Call(ctx, to, service, request)
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				return response, err
			}
		}},
		{name: "deadline stays behind", found: "DeadlineTravels", breaks: func(b *broken) {
			b.answering(func(h server) server {
				return func(ctx context.Context, from string, request []byte) ([]byte, error) {
					return h(context.WithoutCancel(ctx), from, request)
				}
			})
		}},
		{name: "handler's context never ends", found: "DeadlineEndsCallAndHandler CancelEndsHandler CloseEndsOwnCalls CloseEndsCallsOfPeers", breaks: func(b *broken) {
			b.answering(func(h server) server {
				return func(ctx context.Context, from string, request []byte) ([]byte, error) {
					return h(context.WithoutCancel(ctx), from, request)
				}
			})
		}},
		{name: "cancelled call waits for its response", found: "CancelEndsHandler LateResponseReachesNoOtherCall", breaks: func(b *broken) {
			b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
				return b.Transport.Call(context.WithoutCancel(ctx), to, service, request)
			}
		}},
		{name: "response of a cancelled call reaches the next", found: "LateResponseReachesNoOtherCall", breaks: func(b *broken) {
			var late atomic.Pointer[[]byte]
			b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
				response, err := b.Transport.Call(ctx, to, service, request)
				if errors.Is(err, context.Canceled) {
					late.Store(&request)
				} else if p := late.Swap(nil); p != nil {
					response = *p
				}
				return response, err
			}
		}},
		{name: "a deadline fails the calls beside it", found: "DeadlineOfOneCallHarmsNoOther", breaks: func(b *broken) {
			broke := make(chan struct{})
			once := sync.OnceFunc(func() { close(broke) })
			b.call = func(ctx context.Context, to, service string, request []byte) ([]byte, error) {
				ctx, cancel := context.WithCancelCause(ctx)
				defer cancel(nil)
				if service == "long" {
					go func() {
						select {
						case <-broke:
							cancel(transport.ErrUnreachable)
						case <-ctx.Done():
						}
					}()
				}
				response, err := b.Transport.Call(ctx, to, service, request)
				if errors.Is(err, context.DeadlineExceeded) {
					once()
				}
				return response, err
			}
		}},
	}
}

func limitFaults() []fault {
	return []fault{
		{name: "limits are not kept", maxMessage: 1024, found: "MessageAtLimitAndOver ResponseAtLimitAndOver"},
		{name: "limit is one less", maxMessage: transport.DefaultMaxMessage + 1, found: "MessageAtLimitAndOver ResponseAtLimitAndOver SendCopiesBody"},
		{name: "invalid names are mended", found: "Names", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				return b.Transport.Send(to, service[:min(len(service), transport.MaxName)], body)
			}
		}},
		{name: "unknown node has no services", found: "UnknownNode", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if errors.Is(err, transport.ErrUnreachable) {
					err = transport.ErrNoService
				}
				return response, err
			})
		}},
		{name: "Send waits for room", found: "BlockedReceiverOverflows EmptyMessagesOverflow", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				for {
					err := b.Transport.Send(to, service, body)
					if !errors.Is(err, transport.ErrOverflow) {
						return err
					}
					<-time.After(time.Millisecond)
				}
			}
		}},
		{name: "overflow is not told", found: "BlockedReceiverOverflows", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				if err := b.Transport.Send(to, service, body); !errors.Is(err, transport.ErrOverflow) {
					return err
				}
				return nil
			}
		}},
	}
}

func stopFaults() []fault {
	return []fault{
		{name: "stop does nothing", found: "StopRemovesHandler StopFromInsideHandler", breaks: func(b *broken) {
			b.serve = func(service string, h server) func() { b.Transport.Serve(service, h); return func() {} }
			b.receive = func(service string, h receiver) func() { b.Transport.Receive(service, h); return func() {} }
		}},
		{name: "stop does not wait", found: "StopWaitsForHandlers", breaks: func(b *broken) {
			b.serve = func(service string, h server) func() {
				stop := b.Transport.Serve(service, h)
				return func() { go stop() }
			}
		}},
		{name: "stop of a receiver does not wait", found: "StopWaitsForHandlers", breaks: func(b *broken) {
			b.receive = func(service string, h receiver) func() {
				stop := b.Transport.Receive(service, h)
				return func() { go stop() }
			}
		}},
		{name: "stop removes a later registration", found: "StopRemovesHandler LaterRegistrationTakesPlace", breaks: func(b *broken) {
			b.serve = func(service string, h server) func() {
				b.remember(service, b.Transport.Serve(service, h))
				return func() { b.last(service)() }
			}
			b.receive = func(service string, h receiver) func() {
				b.remember(service, b.Transport.Receive(service, h))
				return func() { b.last(service)() }
			}
		}},
		{name: "there is a gap between two registrations", found: "ReplacingLosesNoCall", breaks: func(b *broken) {
			b.serve = func(service string, h server) func() {
				if last := b.last(service); last != nil {
					last()
					<-time.After(time.Millisecond)
				}
				b.remember(service, b.Transport.Serve(service, h))
				return b.last(service)
			}
		}},
	}
}

func closeFaults() []fault {
	return []fault{
		{name: "Close does not wait", found: "CloseEndsCallsOfPeers CloseWaitsForReceivers CloseManyTimes CloseFromInsideServe CloseFromInsideReceive", breaks: func(b *broken) {
			b.close = func() error { go b.Transport.Close(); return nil }
		}},
		{name: "second Close fails", found: "CloseManyTimes", breaks: func(b *broken) {
			var closed atomic.Bool
			b.close = func() error {
				if closed.Swap(true) {
					return transport.ErrClosed
				}
				return b.Transport.Close()
			}
		}},
		{name: "closed node looks unreachable", found: "ClosedStaysClosed CloseEndsOwnCalls", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if errors.Is(err, transport.ErrClosed) {
					err = transport.ErrUnreachable
				}
				return response, err
			})
		}},
		{name: "unreachable node looks closed", found: "CloseEndsCallsOfPeers UnknownNode ClosedStaysClosed", breaks: func(b *broken) {
			b.result(func(response []byte, err error) ([]byte, error) {
				if errors.Is(err, transport.ErrUnreachable) {
					err = transport.ErrClosed
				}
				return response, err
			})
		}},
		{name: "Send after Close is accepted", found: "ClosedStaysClosed CloseFromInsideServe", breaks: func(b *broken) {
			b.send = func(to, service string, body []byte) error {
				if err := b.Transport.Send(to, service, body); !errors.Is(err, transport.ErrClosed) {
					return err
				}
				return nil
			}
		}},
		{name: "former node is remembered", found: "NameJoinsAgain", breaks: func(b *broken) {
			var lost atomic.Bool
			b.result(func(response []byte, err error) ([]byte, error) {
				if lost.Load() {
					return nil, transport.ErrUnreachable
				}
				if errors.Is(err, transport.ErrUnreachable) || errors.Is(err, transport.ErrClosed) {
					lost.Store(true)
				}
				return response, err
			})
		}},
	}
}

func filled(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(3 + i)
	}
	return b
}
