package lb

import (
	"errors"
	"fmt"
)

var (
	// ErrNoBackends says that there is no backend to pick: none was given, or all
	// are draining. Ill health is no reason: see Config.PanicThreshold.
	ErrNoBackends = errors.New("lb: no backends")
	// ErrInvalid says that a Config or a Backend is out of bounds; the text names
	// the field, its value and the bound.
	ErrInvalid = errors.New("lb: invalid")
	// ErrUnknown says that the balancer has no backend of that name.
	ErrUnknown = errors.New("lb: unknown backend")
	// ErrNotCounted says that calls in flight are not counted, so that nobody knows
	// when there are none: see Config.CountInFlight.
	ErrNotCounted = errors.New("lb: calls in flight are not counted")
)

// A checker collects what is wrong with the fields of one Config.
type checker struct {
	config string
	errs   []error
}

func (c *checker) field(ok bool, name string, value any, bound string) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf("%w: %s.%s is %v: must be %s", ErrInvalid, c.config, name, value, bound))
	}
}

func (c *checker) err() error { return errors.Join(c.errs...) }

// orDefault returns the default of a field that was left zero.
func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
