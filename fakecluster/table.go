package fakecluster

import (
	"fmt"
	"strings"
)

// table prints aligned columns.
type table struct {
	head  []string
	right []bool
	left  bool // the headings are left all the same
	rows  [][]string
}

func (t *table) text(gap int) []byte {
	width := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			width[i] = max(width[i], len(c))
		}
	}
	var b strings.Builder
	for n, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			if i < len(t.right) && t.right[i] && (n > 0 || !t.left) {
				fmt.Fprintf(&b, "%*s", width[i], c)
			} else {
				fmt.Fprintf(&b, "%-*s", width[i], c)
			}
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// bytesText prints a size as Ceph does: three significant places at most.
func bytesText(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return scaled(float64(n), 1024, []string{" KiB", " MiB", " GiB", " TiB", " PiB"})
}

// countText prints a number as Ceph does.
func countText(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d", n)
	}
	return scaled(float64(n), 1000, []string{"k", "M", "G", "T"})
}

func scaled(v, base float64, units []string) string {
	i := -1
	for v >= base && i+1 < len(units) {
		v /= base
		i++
	}
	switch {
	case v == float64(int(v)) || v >= 100:
		return fmt.Sprintf("%.0f%s", v, units[i])
	case v >= 10:
		return fmt.Sprintf("%.0f%s", v, units[i])
	}
	return fmt.Sprintf("%.1f%s", v, units[i])
}
