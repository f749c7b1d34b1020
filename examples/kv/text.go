package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Twenty-eight sonnets by William Shakespeare (1609), in modern spelling. They
// are in the public domain.
//
//go:embed sonnets.txt
var sonnets string // constant: what the demo loads

// A pair is one key and its value.
type pair struct{ key, value string }

// poems returns the lines of the sonnets, under keys such as sonnet:18:1, and
// for each word the keys of the lines that it stands in, under word:summer.
func poems() (pairs []pair) {
	lines := map[string][]string{} // of a word
	for poem := range strings.SplitSeq(strings.TrimSpace(sonnets), "\n\n") {
		number, rest, _ := strings.Cut(poem, "\n")
		for i, line := range strings.Split(rest, "\n") {
			key := fmt.Sprintf("sonnet:%s:%d", number, i+1)
			pairs = append(pairs, pair{key, line})
			for _, word := range words(line) {
				if at := lines[word]; !slices.Contains(at, key) {
					lines[word] = append(at, key)
				}
			}
		}
	}
	for _, word := range slices.Sorted(maps.Keys(lines)) {
		pairs = append(pairs, pair{"word:" + word, strings.Join(lines[word], " ")})
	}
	return pairs
}

// words returns the words of a line in small letters; an apostrophe within one
// belongs to it.
func words(line string) (all []string) {
	for field := range strings.FieldsSeq(strings.ToLower(line)) {
		if word := strings.TrimFunc(field, func(r rune) bool { return !unicode.IsLetter(r) }); word != "" {
			all = append(all, word)
		}
	}
	return all
}
