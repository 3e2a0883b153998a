package cls

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// maxHello is the longest input of class hello, maxReplay what it reads back.
const (
	maxHello  = 100
	maxReplay = 1100
)

// helloMethods are those of class hello, Ceph's example of an object class,
// which its tests use to see how OSDs treat classes.
func helloMethods() map[string]method {
	return map[string]method{
		"say_hello":                  read(sayHello),
		"record_hello":               write(recordHello),
		"write_return_data":          write(writeReturnData),
		"writes_dont_return_data":    write(writeReturnData),
		"write_too_much_return_data": write(writeTooMuch),
		"replay":                     read(func(o Object, _ *denc.Reader) ([]byte, error) { return o.Read(0, maxReplay) }),
		"turn_it_to_11":              write(turnItTo11),
		// A writer may not read, nor a reader write.
		"bad_reader": write(func(o Object, _ *denc.Reader) ([]byte, error) {
			size, _ := o.Stat()
			if _, err := o.Read(size, 1); errors.Is(err, errno.ErrNotSupported) {
				return nil, err // before the OSD sees who reads
			}
			return nil, errno.ErrIO
		}),
		"bad_writer": read(func(Object, *denc.Reader) ([]byte, error) { return nil, errno.ErrIO }),
	}
}

// positive is an error that is none: the positive result of a method.
type positive int32

// Error implements error.
func (r positive) Error() string { return fmt.Sprintf("result %d", int32(r)) }

func greeting(in *denc.Reader) ([]byte, error) {
	name := in.Raw(in.Len())
	if len(name) > maxHello {
		return nil, errno.ErrInvalid
	}
	if len(name) == 0 {
		name = []byte("world")
	}
	return fmt.Appendf(nil, "Hello, %s!", name), nil
}

func sayHello(o Object, in *denc.Reader) ([]byte, error) { return greeting(in) }

func recordHello(o Object, in *denc.Reader) ([]byte, error) {
	p, err := greeting(in)
	if err != nil {
		return nil, err
	}
	if o.Exists() {
		return nil, errno.ErrExists
	}
	o.WriteFull(p)
	o.SetXattr("said_by", origin(o))
	return nil, nil
}

func origin(o Object) []byte {
	name, addr := o.Client()
	return fmt.Appendf(nil, "%s %s", name, addr)
}

func writeReturnData(o Object, in *denc.Reader) ([]byte, error) {
	o.SetXattr("foo", []byte("bar"))
	if in.Len() > 0 {
		return []byte("too much input data!"), errno.ErrInvalid
	}
	return []byte("you might see this"), positive(42)
}

// writeTooMuch answers with more than fits into a write's reply.
func writeTooMuch(o Object, _ *denc.Reader) ([]byte, error) {
	o.SetXattr("foo", []byte("bar"))
	return bytes.Repeat([]byte("you should not see this because it is toooooo long. "), 10), positive(42)
}

func turnItTo11(o Object, in *denc.Reader) ([]byte, error) {
	if in.Len() > 0 {
		return nil, errno.ErrInvalid
	}
	p, err := o.Read(0, maxReplay)
	if err != nil {
		return nil, err
	}
	o.WriteFull(bytes.ToUpper(p))
	o.SetXattr("amplified_by", origin(o))
	return nil, nil
}

// parseNumber reads a number as C's strtod does: space before it, hexadecimal ones,
// nothing and what is too large are all right.
func parseNumber(s string) (v float64, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s == "" {
		return 0, true
	}
	if hex := strings.TrimLeft(s, "+-"); len(hex) > 2 && (hex[:2] == "0x" || hex[:2] == "0X") && !strings.ContainsAny(hex, "pP") {
		s += "p0"
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, (err == nil || errors.Is(err, strconv.ErrRange)) && !strings.Contains(s, "_")
}

// numopsMethods are those of class numops: arithmetic on decimal numbers in the
// omap.
func numopsMethods() map[string]method {
	op := func(f func(a, b float64) float64) method {
		return write(func(o Object, in *denc.Reader) ([]byte, error) {
			key, text := in.String(), in.String()
			if in.Err() != nil {
				return nil, errno.ErrInvalid
			}
			diff, ok := parseNumber(text)
			if !ok {
				return nil, errno.ErrInvalid
			}
			value := 0.0
			if p, there := o.Omap(key); there {
				if value, ok = parseNumber(string(p)); !ok {
					return nil, errno.ErrBadMessage
				}
			}
			text = strconv.FormatFloat(f(value, diff), 'g', 10, 64)
			o.SetOmap(key, []byte(strings.TrimPrefix(strings.ToLower(text), "+"))) // inf, as C writes it
			return nil, nil
		})
	}
	return map[string]method{
		"add": op(func(a, b float64) float64 { return a + b }),
		"mul": op(func(a, b float64) float64 { return a * b }),
	}
}
