package sim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/parley-go/parley/transport/sim"
)

func ExampleWorld() {
	test := func(t *testing.T) {
		sim.Run(t, sim.Config{Seed: 7}, func(w *sim.World) {
			boot := func(node *sim.Transport) {
				node.Receive("greet", func(from string, body []byte) {
					fmt.Printf("%s got %q from %s\n", node.Local(), body, from)
				})
			}
			a := w.Join("a")
			boot(w.Join("b"))

			a.Send("b", "greet", []byte("hello"))
			time.Sleep(time.Second) // of virtual time

			w.Partition([]string{"a"}, []string{"b"})
			a.Send("b", "greet", []byte("is anybody there?")) // lost
			time.Sleep(time.Minute)
			w.Heal()

			w.Crash("b")
			w.Restart("b", boot)
			a.Send("b", "greet", []byte("welcome back"))
			time.Sleep(time.Second)
		})
	}
	inTest(test)
	// Output:
	// b got "hello" from a
	// b got "welcome back" from a
}

// A call to a node that is cut off ends with its context, one to a node that has
// crashed ends as soon as the news arrives.
func ExampleTransport() {
	test := func(t *testing.T) {
		sim.Run(t, sim.Config{Faults: sim.Faults{Delay: sim.Constant(10 * time.Millisecond)}}, func(w *sim.World) {
			a, b := w.Join("a"), w.Join("b")
			b.Serve("double", func(_ context.Context, _ string, request []byte) ([]byte, error) {
				return append(request, request...), nil
			})
			call := func() {
				ctx, cancel := context.WithTimeout(a.Context(), time.Second)
				defer cancel()
				start := time.Now()
				response, err := a.Call(ctx, "b", "double", []byte("ho"))
				fmt.Printf("%q, %v, after %v\n", response, err, time.Since(start))
			}
			call()
			w.Cut("b", "a")
			call()
			w.Heal()
			w.Crash("b")
			call()
		})
	}
	inTest(test)
	// Output:
	// "hoho", <nil>, after 20ms
	// "", context deadline exceeded, after 1s
	// "", transport: node unreachable: double on b, after 20ms
}

func ExampleLink() {
	test := func(t *testing.T) {
		sim.Run(t, sim.Config{Seed: 7}, func(w *sim.World) {
			a, b := w.Join("a"), w.Join("b")
			received := 0
			b.Receive("s", func(string, []byte) { received++ })

			w.Link("a", "b").Set(sim.Faults{
				Drop:  0.5,
				Delay: sim.LogNormal(2*time.Millisecond, 0.5),
			})
			for range 1000 {
				a.Send("b", "s", nil)
			}
			time.Sleep(time.Second)
			w.Wait() // so that received is safe to read
			fmt.Println("about half arrived:", received > 450 && received < 550)
		})
	}
	inTest(test)
	// Output: about half arrived: true
}

// All links between two nodes lose, repeat and reorder messages, and carry no
// more than a megabyte a second.
func ExampleConfig() {
	config := sim.Config{
		Seed: 42,
		Faults: sim.Faults{
			Drop:      0.02,
			Duplicate: 0.01,
			Reorder:   0.01,
			Delay:     sim.Exponential(time.Millisecond, 3*time.Millisecond),
			Bandwidth: 1 << 20,
		},
		Limit: 10 * time.Minute,
	}
	test := func(t *testing.T) {
		sim.Run(t, config, func(w *sim.World) { w.Join("a") })
		fmt.Println("nothing can go wrong with one node")
	}
	inTest(test)
	// Output: nothing can go wrong with one node
}

// The zero value loses nothing. A link may be worse in one direction than in the
// other.
func ExampleFaults() {
	test := func(t *testing.T) {
		sim.Run(t, sim.Config{}, func(w *sim.World) {
			w.Link("a", "b").Set(sim.Faults{Bandwidth: 100_000})
			a, b := w.Join("a"), w.Join("b")
			b.Receive("upload", func(_ string, body []byte) {
				fmt.Println(len(body), "bytes took", w.Elapsed().Round(100*time.Millisecond))
			})
			a.Send("b", "upload", make([]byte, 200_000))
			time.Sleep(time.Minute)
		})
	}
	inTest(test)
	// Output: 200000 bytes took 2s
}

// A Delay is a quantile function, so that one of your own is a line.
func ExampleDelay() {
	uniform := sim.Uniform(1*time.Millisecond, 5*time.Millisecond)
	fmt.Println(uniform(0), uniform(0.5))

	mostlyFast := sim.Delay(func(u float64) time.Duration {
		if u < 0.99 {
			return time.Millisecond
		}
		return time.Second
	})
	fmt.Println(mostlyFast(0.5), mostlyFast(0.995))
	// Output:
	// 1ms 3ms
	// 1ms 1s
}

// A test over many seeds. When one fails, the log ends with the command that runs
// that one again.
func ExampleSeeds() {
	test := func(t *testing.T) {
		sim.Seeds(t, 100, func(t *testing.T, seed uint64) {
			sim.Run(t, sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.1}}, func(w *sim.World) {
				a, b := w.Join("a"), w.Join("b")
				last := -1
				b.Receive("count", func(_ string, body []byte) {
					if n := int(body[0]); n <= last {
						w.T().Errorf("got %d after %d", n, last)
					} else {
						last = n
					}
				})
				for n := range 50 {
					a.Send("b", "count", []byte{byte(n)})
				}
				time.Sleep(time.Second)
			})
		})
		fmt.Println("in order under every seed")
	}
	inTest(test)
	// Output: in order under every seed
}

// An unmodified net/http server and client. Only how they listen and dial is the
// world's.
func Example_http() {
	test := func(t *testing.T) {
		sim.Run(t, sim.Config{Seed: 7}, func(w *sim.World) {
			boot := func(node *sim.Transport) {
				listener, err := node.Listen("tcp", ":80")
				if err != nil {
					w.T().Error(err)
					return
				}
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, "hello %s", r.URL.Query().Get("name"))
				})}
				context.AfterFunc(node.Context(), func() { server.Close() }) // a crash ends the server
				go server.Serve(listener)
			}
			boot(w.Join("server"))

			client := &http.Client{
				Transport: &http.Transport{DialContext: w.Join("client").DialContext},
				Timeout:   time.Second,
			}
			get := func() {
				start := time.Now()
				response, err := client.Get("http://server/?name=world")
				if err != nil {
					fmt.Println("no answer after", time.Since(start))
					return
				}
				defer response.Body.Close()
				body, _ := io.ReadAll(response.Body)
				fmt.Printf("%s\n", body)
			}
			get()
			w.Partition([]string{"client"}, []string{"server"})
			get()
			w.Heal()
			get()
		})
	}
	inTest(test)
	// Output:
	// hello world
	// no answer after 1s
	// hello world
}
