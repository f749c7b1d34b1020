package main

import (
	"fmt"
	"io"
)

// columns are what the table shows of each second of a run, in order.
func columns(r *record, s span) []any {
	return []any{
		r.total(answered, s), r.total(retried, s), r.total(stopped, s), r.total(sent, s), r.total(shed, s), r.amplification(s),
	}
}

// writeTable prints both runs, second by second.
func writeTable(out io.Writer, acts []act, guarded, bare *record) {
	const (
		names = "  %8s %8s %8s %8s %8s %6s"
		cells = "  %8d %8d %8d %8d %8d %6.2f"
	)
	heads := []any{"answered", "retried", "stopped", "sent", "shed", "amp"}
	fmt.Fprint(out, legend)
	fmt.Fprintf(out, "\n%-10s %3s %6s | %-52s | %s\n", "", "", "", " with guards", " without guards")
	fmt.Fprintf(out, "%-10s %3s %6s |"+names+" |"+names+"\n", append([]any{"act", "s", "asked"}, append(heads, heads...)...)...)
	for a, s := range spans(acts) {
		name := a.name
		for second := s.begin; second < s.end; second++ {
			now := span{second, second + 1}
			row := []any{name, second, guarded.total(asked, now)}
			row = append(row, columns(guarded, now)...)
			row = append(row, columns(bare, now)...)
			fmt.Fprintf(out, "%-10s %3d %6d |"+cells+" |"+cells+"\n", row...)
			name = ""
		}
	}
}

const legend = `
In each second of the script: requests asked and answered; tries that were retries, that the
breaker stopped, that were sent to the service, and that the service shed; and amp, the
amplification: tries for each request, those included that were stopped.
`
