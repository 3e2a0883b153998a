package conf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// kind is the type of an option's value.
type kind uint8

const (
	kindString kind = iota
	kindInt         // also unsigned; suffixes K, M, G… are powers of 1000
	kindSize        // suffixes are powers of 1024
	kindFloat
	kindBool
	kindSeconds // a whole number of seconds, or with a unit
)

const suffixes = "KMGTPE"

// parseScaled reads digits and an optional suffix; iec says that suffixes are
// powers of 1024 and may end in "i" or "iB".
func parseScaled(s string, iec bool) (int64, error) {
	digits := strings.TrimRight(s, "KMGTPEBi")
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	unit := s[len(digits):]
	base := int64(1000)
	if iec {
		base = 1024
		unit = strings.TrimSuffix(unit, "B")
		unit = strings.TrimSuffix(unit, "i")
	}
	if unit == "" {
		return v, nil
	}
	exp := strings.Index(suffixes, unit)
	if exp < 0 || len(unit) != 1 {
		return 0, fmt.Errorf("%q: unknown unit", s)
	}
	for range exp + 1 {
		if v > math.MaxInt64/base || v < math.MinInt64/base {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		v *= base
	}
	return v, nil
}

// timeUnits are the units of a time span, in seconds.
var timeUnits = map[string]int64{
	"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1,
	"m": 60, "min": 60, "minute": 60, "minutes": 60,
	"h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
	"d": 86400, "day": 86400, "days": 86400,
	"w": 604800, "wk": 604800, "week": 604800, "weeks": 604800,
	"mo": 2592000, "month": 2592000, "months": 2592000,
	"y": 31536000, "yr": 31536000, "year": 31536000, "years": 31536000,
}

// parseSpan reads a time span such as "90", "90s", "2 min" or "1h 30m".
func parseSpan(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	var total int64
	for first := true; first || rest != ""; first = false {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		v, err := strconv.ParseInt(rest[:n], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no time span", s)
		}
		rest = strings.TrimSpace(rest[n:])
		n = 0
		for n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z' {
			n++
		}
		unit, ok := timeUnits[rest[:n]]
		if !ok {
			return 0, fmt.Errorf("%q: unknown unit", s)
		}
		rest = strings.TrimSpace(rest[n:])
		if total += v * unit; v > int64(math.MaxInt64/time.Second)/unit || total > int64(math.MaxInt64/time.Second) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
	}
	return time.Duration(total) * time.Second, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return v != 0, nil
}

// check reports whether s is a value of kind k.
func (k kind) check(s string) error {
	var err error
	switch k {
	case kindInt:
		_, err = parseScaled(s, false)
	case kindSize:
		_, err = parseScaled(s, true)
	case kindFloat:
		if _, err = strconv.ParseFloat(s, 64); err != nil {
			err = fmt.Errorf("%q is no number", s)
		}
	case kindBool:
		_, err = parseBool(s)
	case kindSeconds:
		_, err = parseSpan(s)
	}
	return err
}
