package rbdcmd

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stillKeyboard is a terminal of a fixed size where nobody presses a key.
type stillKeyboard struct{ rows, cols int }

func (k stillKeyboard) size() (rows, cols int) { return k.rows, k.cols }
func (stillKeyboard) key() key                 { return keyNone }
func (stillKeyboard) close()                   {}

// shown carries out what was sent to a terminal and returns its rows; what is
// reversed is in capitals between brackets, and what is drawn with lines is as it
// was sent.
func shown(t *testing.T, rows, cols int, sent string) []string {
	t.Helper()
	text := make([][]byte, rows)
	for i := range text {
		text[i] = bytes.Repeat([]byte(" "), cols)
	}
	row, col := 0, 0
	for sent != "" {
		if rest, ok := strings.CutPrefix(sent, "\x1b("); ok {
			sent = rest[1:]
			continue
		}
		if rest, ok := strings.CutPrefix(sent, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
			require.GreaterOrEqual(t, end, 0, "an unfinished sequence: %q", sent)
			if at, rest0, ok := strings.Cut(rest[:end], ";"); ok && rest[end] == 'H' {
				row, col = number(t, at)-1, number(t, rest0)-1
			}
			if rest[:end] == "2" && rest[end] == 'J' {
				for i := range text {
					text[i] = bytes.Repeat([]byte(" "), cols)
				}
			}
			sent = rest[end+1:]
			continue
		}
		require.Less(t, row, rows)
		require.Less(t, col, cols, "row %d", row)
		text[row][col] = sent[0]
		col++
		sent = sent[1:]
	}
	var all []string
	for _, line := range text {
		all = append(all, strings.TrimRight(string(line), " "))
	}
	return all
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// TestIotopScreen holds the screen to that of rbd 20.2.4, row by row.
func TestIotopScreen(t *testing.T) {
	busy := []imageStats{
		{pool: "p", image: "image-one", figures: [6]float64{1464, 0, 5976883, 0, 7.99e6, 0}},
		{pool: "p", namespace: "ns", image: "two", figures: [6]float64{0, 12, 0, 49152, 0, 1.2e3}},
	}
	tests := []struct {
		name       string
		rows, cols int
		pool       string
		stats      []imageStats
		sortBy     int
		want       []string
	}{
		{"wide", 4, 100, "p", busy, 0, []string{
			" >WRITES OPS    READS OPS  WRITE BYTES   READ BYTES    WRITE LAT     READ LAT IMAGE",
			"    1.46k/s          0/s    5.7 MiB/s        0 B/s      7.99 ms      0.00 ns image-one",
			"        0/s         12/s        0 B/s     48 KiB/s      0.00 ns      1.20 us two", "",
		}},
		{"all pools, second column", 3, 110, "", busy, 1, []string{
			"  WRITES OPS   >READS OPS  WRITE BYTES   READ BYTES    WRITE LAT     READ LAT IMAGE",
			"    1.46k/s          0/s    5.7 MiB/s        0 B/s      7.99 ms      0.00 ns p/image-one",
			"        0/s         12/s        0 B/s     48 KiB/s      0.00 ns      1.20 us p/ns/two",
		}},
		{"narrow", 4, 80, "p", busy[:1], 0, []string{
			" >WRITES OPS    READS OPS  WRITE BYTES   READ BYTES    WRITE LAT     READ LAT IM",
			"    1.46k/s          0/s    5.7 MiB/s        0 B/s      7.99 ms      0.00 ns im", "age-one", "",
		}},
		{"waiting", 9, 80, "p", nil, 0, []string{
			" >WRITES OPS    READS OPS  WRITE BYTES   READ BYTES    WRITE LAT     READ LAT IM", "AGE",
			"                         lqqqqqqqqqqqqqqqqqqqqqqqqqqqk",
			"                         x                           x",
			"                         x Waiting for initial stats x",
			"                         x                           x",
			"                         mqqqqqqqqqqqqqqqqqqqqqqqqqqqj", "", "",
		}},
		{"too small for anything", 1, 5, "p", busy, 0, []string{" >WRI"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i := range test.want { // a column's first blank is that of the line's beginning
				if strings.Contains(test.want[i], "/s") {
					test.want[i] = " " + test.want[i]
				}
			}
			var out bytes.Buffer
			top := &iotop{keys: stillKeyboard{test.rows, test.cols}, screen: &screen{out: &out}, pool: test.pool, stats: test.stats, sortBy: test.sortBy}
			require.NoError(t, top.redraw())
			require.Equal(t, test.want, shown(t, test.rows, test.cols, out.String()))
			out.Reset()
			require.NoError(t, top.redraw())
			require.Zero(t, out.Len(), "a screen that is as it was is drawn again")
			top.screen.close()
		})
	}
}

// TestIotopScreenFollows draws a changed screen, and gives the same picture as a
// fresh one does.
func TestIotopScreenFollows(t *testing.T) {
	const rows, cols = 8, 90
	var out, fresh bytes.Buffer
	top := &iotop{keys: stillKeyboard{rows, cols}, screen: &screen{out: &out}, pool: "p"}
	require.NoError(t, top.redraw())
	top.stats, top.sortBy = []imageStats{{pool: "p", image: "i", figures: [6]float64{1, 2, 3, 4, 5, 6}}}, 3
	require.NoError(t, top.redraw())
	top.stats = nil
	require.NoError(t, top.redraw())
	top.screen.out, top.screen.drawn = &fresh, nil
	require.NoError(t, top.redraw())
	require.Equal(t, shown(t, rows, cols, fresh.String()), shown(t, rows, cols, out.String()))
	require.NotContains(t, fresh.String(), topWaiting, "the box came back")
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestIotopEndsWithItsTerminal(t *testing.T) {
	top := &iotop{keys: stillKeyboard{10, 80}, screen: &screen{out: failingWriter{}}}
	require.Error(t, top.redraw())
}

func TestKeys(t *testing.T) {
	var got []key
	for b := []byte("q<>\x1b[C\x1bOD\x1b[AxQ"); len(b) > 0; {
		var k key
		k, b = keyOf(b)
		got = append(got, k)
	}
	require.Equal(t, []key{keyQuit, keyLeft, keyRight, keyRight, keyLeft, keyOther, keyOther, keyQuit}, got)
	k, _ := keyOf(nil)
	require.Equal(t, keyNone, k)
}
