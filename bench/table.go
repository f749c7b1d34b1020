package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A result is one benchmark of one implementation: what is measured, with which
// parameters, and the values of every run by unit.
type result struct {
	what, params, impl string
	values             map[string][]float64
}

var line = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.+)$`)

// parse reads the output of go test -bench. The names are
// Benchmark<What>/<param>=<value>/.../impl=<name>.
func parse(output string) (results []result, err error) {
	for text := range strings.Lines(output) {
		m := line.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			continue
		}
		path, impl, ok := strings.Cut(m[1], "/impl=")
		if !ok {
			return nil, fmt.Errorf("benchmark %s does not end in /impl=name", m[1])
		}
		what, params, _ := strings.Cut(path, "/")
		i := slices.IndexFunc(results, func(r result) bool { return r.what == what && r.params == params && r.impl == impl })
		if i < 0 {
			i = len(results)
			results = append(results, result{what, params, impl, map[string][]float64{}})
		}
		fields := strings.Fields(m[2])
		for k := 0; k+1 < len(fields); k += 2 {
			v, err := strconv.ParseFloat(fields[k], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s: %w", m[1], err)
			}
			results[i].values[fields[k+1]] = append(results[i].values[fields[k+1]], v)
		}
	}
	return results, nil
}

const ours = "parley"

// writeTables prints one table for each thing measured: a row for each
// parameter and unit, a column for each implementation, ours first.
func writeTables(w io.Writer, results []result) {
	for len(results) > 0 {
		what := results[0].what
		var group, rest []result
		for _, r := range results {
			if r.what == what {
				group = append(group, r)
			} else {
				rest = append(rest, r)
			}
		}
		writeTable(w, what, group)
		results = rest
	}
}

func writeTable(w io.Writer, what string, group []result) {
	impls := unique(group, func(r result) string { return r.impl })
	if i := slices.Index(impls, ours); i > 0 {
		impls = slices.Insert(slices.Delete(impls, i, i+1), 0, ours)
	}
	fmt.Fprintf(w, "\n### %s\n\n| | unit | %s | lead |\n|---|---|%s---:|\n", what, strings.Join(impls, " | "), strings.Repeat("---:|", len(impls)))
	for _, params := range unique(group, func(r result) string { return r.params }) {
		for _, unit := range unitsOf(group, params) {
			fmt.Fprintf(w, "| %s | %s |", strings.ReplaceAll(params, "/", ", "), unit)
			cells := make([]float64, len(impls))
			for i, impl := range impls {
				cells[i] = find(group, params, impl, unit)
			}
			best := bestOf(cells, unit)
			for _, v := range cells {
				switch {
				case v < 0:
					fmt.Fprint(w, " |")
				case v == best:
					fmt.Fprintf(w, " **%s** |", number(v))
				default:
					fmt.Fprintf(w, " %s |", number(v))
				}
			}
			fmt.Fprintf(w, " %s |\n", lead(cells, impls, unit))
		}
	}
}

// moreIsBetter says so of rates.
func moreIsBetter(unit string) bool { return strings.HasSuffix(unit, "/s") }

// oneIsBest says so of what should be neither more nor less than its ideal.
func oneIsBest(unit string) bool { return strings.HasSuffix(unit, "/ideal") }

// bestOf returns the best of the cells that hold a value; -1 where none does.
func bestOf(cells []float64, unit string) float64 {
	present := slices.DeleteFunc(slices.Clone(cells), func(v float64) bool { return v < 0 })
	switch {
	case len(present) == 0:
		return -1
	case moreIsBetter(unit):
		return slices.Max(present)
	case oneIsBest(unit):
		return slices.MinFunc(present, func(a, b float64) int { return cmp.Compare(math.Abs(a-1), math.Abs(b-1)) })
	}
	return slices.Min(present)
}

func lead(cells []float64, impls []string, unit string) string {
	i := slices.Index(impls, ours)
	if i < 0 || cells[i] < 0 || oneIsBest(unit) {
		return ""
	}
	us, peer := cells[i], bestOf(slices.Delete(slices.Clone(cells), i, i+1), unit)
	if moreIsBetter(unit) {
		us, peer = peer, us
	}
	if us <= 0 || peer < 0 {
		return ""
	}
	if peer/us >= 10 {
		return fmt.Sprintf("%.0f×", peer/us)
	}
	return fmt.Sprintf("%.2g×", peer/us)
}

// find returns the median of one cell; -1 where there is none.
func find(group []result, params, impl, unit string) float64 {
	for _, r := range group {
		if v := r.values[unit]; r.params == params && r.impl == impl && len(v) > 0 {
			return median(v)
		}
	}
	return -1
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// unitsOf lists the units measured with some parameters: time first, then what
// the benchmark reports itself, then allocations. Bytes are left out.
func unitsOf(group []result, params string) (units []string) {
	for _, r := range group {
		if r.params != params {
			continue
		}
		for unit := range r.values {
			if unit != "B/op" && !slices.Contains(units, unit) {
				units = append(units, unit)
			}
		}
	}
	rank := func(unit string) string { return map[string]string{"ns/op": "0", "allocs/op": "z"}[unit] + unit }
	slices.SortFunc(units, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	return units
}

func unique(group []result, f func(result) string) (values []string) {
	for _, r := range group {
		if v := f(r); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// number prints three significant digits, with a suffix for large numbers.
func number(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.3gG", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
