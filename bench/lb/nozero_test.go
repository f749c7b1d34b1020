//go:build !gozero

package lb_test

func goZero() []impl { return nil }
