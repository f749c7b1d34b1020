//go:build race

package verify

// buildFlags has the servers watched as well when the tests are.
const buildFlags = "-race"
