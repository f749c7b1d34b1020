//go:build !race

package verify

const buildFlags = "-race=false"
