package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrSize says that a text is no size.
var ErrSize = errors.New("invalid size")

// ParseSize reads a number with an optional unit: B, K, M, G, T, P, E, each also
// as in KB and KiB (powers of 1024). A number without a unit counts in bytes
// times defaultUnit. A fraction is refused, as rbd does; a plus sign may be before it.
func ParseSize(text string, defaultUnit uint64) (uint64, error) {
	s := strings.TrimPrefix(text, "+")
	digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(s)
	}
	n, err := strconv.ParseUint(s[:digits], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", ErrSize, s)
	}
	unit := defaultUnit
	if suffix := s[digits:]; suffix != "" {
		shift := strings.IndexByte("BKMGTPE", suffix[0])
		rest := suffix[1:]
		if shift < 0 || (rest != "" && rest != "i" && rest != "B" && rest != "iB") || (shift == 0 && rest != "") {
			return 0, fmt.Errorf("%w: %q", ErrSize, s)
		}
		unit = 1 << (10 * shift)
	}
	if n > math.MaxUint64/unit {
		return 0, fmt.Errorf("%w: %q is too large", ErrSize, s)
	}
	return n * unit, nil
}

// ByteSize prints a number of bytes as Ceph's byte_u_t does.
func ByteSize(v uint64) string {
	return scaled(v, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// scaled prints v in the largest unit of which it holds at least one: a whole
// multiple without a fraction, else with as much of it as three characters hold.
func scaled(v, base uint64, units []string) string {
	n, div := 0, uint64(1)
	for x := v; x >= base && n < len(units)-1; n++ {
		x /= base
		div *= base
	}
	if v%div == 0 {
		return fmt.Sprintf("%d %s", v/div, units[n])
	}
	f := float64(v) / float64(div)
	text := strconv.FormatFloat(f, 'f', 1, 64)
	if len(text) > 3 {
		text = strconv.FormatFloat(f, 'f', 0, 64)
	}
	return text + " " + units[n]
}

// SISize prints a number as Ceph's si_u_t does: with two decimals and a unit of
// thousands, without a blank.
func SISize(v uint64) string {
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	n, div := 0, uint64(1)
	for x := v; x >= 1000 && n < len(units)-1; n++ {
		x /= 1000
		div *= 1000
	}
	if v%div == 0 {
		return strconv.FormatUint(v/div, 10) + units[n]
	}
	return strconv.FormatFloat(float64(v)/float64(div), 'f', 2, 64) + units[n]
}

// ParseUint32 reads a number as rbd does, in whose eyes a negative one is counted
// from the end of the range.
func ParseUint32(s string) (uint32, error) {
	text := strings.TrimPrefix(s, "+")
	negative := text == s && strings.HasPrefix(s, "-")
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "-"), 10, 32)
	if err != nil || strings.HasPrefix(text, "-") && !negative {
		return 0, fmt.Errorf("number %q: %w", s, strconv.ErrSyntax)
	}
	if negative {
		return -uint32(n), nil
	}
	return uint32(n), nil
}
