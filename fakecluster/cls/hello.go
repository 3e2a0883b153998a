package cls

import (
	"bytes"
	"fmt"
	"math"
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
		"write_return_data":          write(writeReturnData("you might see this")),
		"writes_dont_return_data":    write(writeReturnData("you will never see this")),
		"write_too_much_return_data": write(writeReturnData(strings.Repeat("more than fits into a write's reply. ", 30))),
		"replay":                     read(func(o Object, _ *denc.Reader) ([]byte, error) { return o.Read(0, maxReplay), exists(o) }),
		"turn_it_to_11":              write(turnItTo11),
		// A writer may not read, nor a reader write.
		"bad_reader": write(func(Object, *denc.Reader) ([]byte, error) { return nil, errno.ErrIO }),
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

func writeReturnData(answer string) handler {
	return func(o Object, in *denc.Reader) ([]byte, error) {
		o.SetXattr("foo", []byte("bar"))
		if in.Len() > 0 {
			return []byte("too much input data!"), errno.ErrInvalid
		}
		return []byte(answer), positive(42)
	}
}

func turnItTo11(o Object, in *denc.Reader) ([]byte, error) {
	if in.Len() > 0 {
		return nil, errno.ErrInvalid
	}
	o.WriteFull(bytes.ToUpper(o.Read(0, maxReplay)))
	o.SetXattr("amplified_by", origin(o))
	return nil, nil
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
			diff, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, errno.ErrInvalid
			}
			value := 0.0
			if p, ok := o.Omap(key); ok && len(p) > 0 {
				if value, err = strconv.ParseFloat(string(p), 64); err != nil {
					return nil, errno.ErrBadMessage
				}
			}
			value = f(value, diff)
			if math.IsInf(value, 0) || math.IsNaN(value) {
				return nil, errno.ErrOverflow
			}
			o.SetOmap(key, strconv.AppendFloat(nil, value, 'g', -1, 64))
			return nil, nil
		})
	}
	return map[string]method{
		"add": op(func(a, b float64) float64 { return a + b }),
		"mul": op(func(a, b float64) float64 { return a * b }),
	}
}
