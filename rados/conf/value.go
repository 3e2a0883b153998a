package conf

import (
	"errors"
	"fmt"
	"math"
	"regexp"
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
	kindSeconds  // a whole number of seconds, or with a unit
	kindFeatures // of images: a number, or names
)

const suffixes = "KMGTPE"

// parseScaled reads digits and an optional suffix; iec says that suffixes are
// powers of 1024 and may end in "i" or "iB".
func parseScaled(s string, iec bool) (int64, error) {
	digits := strings.TrimRight(s, "KMGTPEBi")
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, noNumber(s, iec)
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

// noNumber says in Ceph's words why s is none.
func noNumber(s string, iec bool) error {
	switch unit := strings.TrimLeft(s, "0123456789+-"); {
	case iec && len(unit) > 2:
		return errors.New("strict_iecstrtoll: illegal prefix (length > 2)")
	case iec:
		return fmt.Errorf("strict_iecstrtoll: unit prefix not recognized '%s' ", unit)
	}
	return errors.New("strict_si_cast: unit prefix not recognized")
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
			return 0, errors.New("expected digit")
		}
		rest = strings.TrimSpace(rest[n:])
		n = 0
		for n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z' {
			n++
		}
		unit, ok := timeUnits[rest[:n]]
		if !ok {
			return 0, fmt.Errorf("unrecogized unit '%s'", rest[:n])
		}
		rest = strings.TrimSpace(rest[n:])
		if total += v * unit; v > int64(math.MaxInt64/time.Second)/unit || total > int64(math.MaxInt64/time.Second) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
	}
	return time.Duration(total) * time.Second, nil
}

// ErrNotBool says that a value is neither true nor false.
var ErrNotBool = errors.New("neither true nor false")

func parseBool(s string) (bool, error) {
	switch s {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return false, ErrNotBool
	}
	return v != 0, nil
}

// ErrNotFeatures says that a value is no list of an image's features.
var ErrNotFeatures = errors.New("no list of features")

func checkFeatures(s string) error {
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		return nil
	}
	for name := range strings.SplitSeq(s, ",") {
		switch strings.TrimSpace(name) {
		case "layering", "striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling", "data-pool", "operations", "migrating", "non-primary", "dirty-cache":
		default:
			return ErrNotFeatures
		}
	}
	return nil
}

// logLevel is the value of the options debug_….
var logLevel = regexp.MustCompile(`^-?\d+(/-?\d+)?$`)

func checkLogLevel(s string) error {
	if !logLevel.MatchString(s) {
		return errors.New("value must take the form N or N/M, where N and M are integers")
	}
	return nil
}

// check reports in Ceph's words whether s is a value of kind k.
func (k kind) check(s string) error {
	var err error
	switch k {
	case kindInt:
		_, err = parseScaled(s, false)
	case kindSize:
		_, err = parseScaled(s, true)
	case kindFloat:
		if _, err = strconv.ParseFloat(s, 64); err != nil {
			err = fmt.Errorf("strict_strtod: expected double, got: '%s'", s)
		}
	case kindBool:
		_, err = parseBool(s)
	case kindSeconds:
		_, err = parseSpan(s)
	case kindFeatures:
		err = checkFeatures(s)
	}
	return err
}
