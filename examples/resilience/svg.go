package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the picture, in pixels.
const (
	width     = 960
	height    = 715
	left      = 70 // of the time axis
	plot      = width - left - 30
	tall      = 240 // of a chart
	firstTop  = 85
	secondTop = firstTop + tall + 85
)

// Colours that are told apart by everybody, in print, too.
const (
	blue   = "#0072b2"
	orange = "#d55e00"
	grey   = "#888888"
)

// A curve is one value for each second.
type curve struct {
	label, colour string
	values        []int
}

// draw returns the timeline of both runs as an SVG picture: what was answered, and
// what was sent to the service for it.
func draw(acts []act, guarded, bare *record) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&out, "<title>One flaky service, with and without guards</title>\n")
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text(&out, left, 26, `font-size="18"`, "One flaky service, with and without guards")
	drawChart(&out, acts, firstTop, "Requests answered, per second", []curve{
		{"asked", grey, perSeconds(guarded, asked)},
		{"without guards", orange, perSeconds(bare, answered)},
		{"with guards", blue, perSeconds(guarded, answered)},
	})
	drawChart(&out, acts, secondTop, "Calls sent to the service, per second", []curve{
		{"asked", grey, perSeconds(guarded, asked)},
		{"without guards", orange, perSeconds(bare, sent)},
		{"with guards", blue, perSeconds(guarded, sent)},
	})
	text(&out, left, height-12, `fill="#555"`, "Dashed: the capacity of the service. Seconds of the script from left to right.")
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func perSeconds(r *record, e event) (values []int) {
	for second := range len(r.slots) / tenths {
		values = append(values, r.total(e, span{second, second + 1}))
	}
	return values
}

func drawChart(out *bytes.Buffer, acts []act, top float64, title string, curves []curve) {
	seconds := len(curves[0].values)
	most := capacity
	for _, c := range curves {
		for _, v := range c.values {
			most = max(most, v)
		}
	}
	step := tick(most)
	ceiling := (most + step - 1) / step * step
	x := func(second float64) float64 { return left + plot*second/float64(seconds) }
	y := func(v int) float64 { return top + tall - tall*float64(v)/float64(ceiling) }

	drawActs(out, acts, top, x)
	for v := 0; v <= ceiling; v += step {
		fmt.Fprintf(out, `<path d="M%d %.1fh%d" stroke="#ddd"/>`+"\n", left, y(v), plot)
		text(out, left-8, y(v)+4, `text-anchor="end" fill="#555"`, fmt.Sprint(v))
	}
	fmt.Fprintf(out, `<path d="M%d %.1fh%d" stroke="black" stroke-dasharray="6 4"/>`+"\n", left, y(capacity), plot)
	text(out, left, top-24, `font-weight="bold"`, title)
	for i, c := range curves {
		text(out, float64(left+420+140*i), top-24, fmt.Sprintf(`fill="%s" font-weight="bold"`, c.colour), c.label)
		var points strings.Builder
		for second, v := range c.values {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(float64(second)+0.5), y(v))
		}
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(points.String()), c.colour)
	}
}

// drawActs paints the background: every second act grey, and their names above.
func drawActs(out *bytes.Buffer, acts []act, top float64, x func(float64) float64) {
	shaded := false
	for a, s := range spans(acts) {
		begin, end := x(float64(s.begin)), x(float64(s.end))
		if shaded {
			fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="#f3f3f3"/>`+"\n", begin, top, end-begin, tall)
		}
		text(out, (begin+end)/2, top-6, `text-anchor="middle" fill="#555"`, a.name)
		text(out, begin, top+tall+18, `text-anchor="middle" fill="#555"`, fmt.Sprint(s.begin))
		shaded = !shaded
	}
}

// tick returns a round distance of marks, so that there are 3 to 8 of them up to
// most.
func tick(most int) int {
	power := int(math.Pow10(int(math.Log10(float64(max(1, most))))))
	for _, step := range []int{power / 5, power / 2, power} {
		if step > 0 && most/step < 8 {
			return step
		}
	}
	return 2 * power
}

func text(out *bytes.Buffer, x, y float64, style, s string) {
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, style, html.EscapeString(s))
}
