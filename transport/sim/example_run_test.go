package sim_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"
)

// inTest runs f as a test. A world needs a *testing.T, which an Example does not
// have, and only the testing package can make one. In your own tests, leave this
// out: they have a t.
func inTest(f func(t *testing.T)) {
	verbose := flag.Lookup("test.v")
	was := verbose.Value.String()
	verbose.Value.Set("false") // what it prints would count as output of the Example
	defer verbose.Value.Set(was)

	var once sync.Once // the flags -count and -cpu are not meant for it
	test := testing.InternalTest{Name: "Example", F: func(t *testing.T) { once.Do(func() { f(t) }) }}
	all := func(string, string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{test}) {
		fmt.Println("the test failed")
	}
}
