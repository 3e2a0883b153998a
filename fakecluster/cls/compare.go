package cls

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/rados/cls/cmpomap"
	"github.com/rbdm/rbdm/rados/errno"
)

func cmpomapMethods() map[string]method {
	return map[string]method{
		cmpomap.MethodCmpVals: read(taking(cmpVals)),
		cmpomap.MethodSetVals: write(taking(cmpSetVals)),
		cmpomap.MethodRmKeys:  write(taking(cmpRmKeys)),
	}
}

// compareValue compares an argument's value with a stored one: ErrInvalid for
// what is no comparison, ErrIO for a stored number that is none.
func compareValue(mode cmpomap.Mode, op cmpomap.Op, input, have []byte) (bool, error) {
	c := 0
	switch mode {
	case cmpomap.String:
		c = slices.CompareFunc(input, have, func(a, b byte) int { return cmp.Compare(int8(a), int8(b)) })
	case cmpomap.U64:
		if len(input) < 8 {
			return false, errno.ErrInvalid
		}
		n := uint64(0)
		if len(have) > 0 {
			if len(have) < 8 {
				return false, errno.ErrIO
			}
			n = binary.LittleEndian.Uint64(have)
		}
		c = cmp.Compare(binary.LittleEndian.Uint64(input), n)
	default:
		return false, errno.ErrInvalid
	}
	switch op {
	case cmpomap.Equal:
		return c == 0, nil
	case cmpomap.NotEqual:
		return c != 0, nil
	case cmpomap.Greater:
		return c > 0, nil
	case cmpomap.GreaterOrEqual:
		return c >= 0, nil
	case cmpomap.Less:
		return c < 0, nil
	case cmpomap.LessOrEqual:
		return c <= 0, nil
	}
	return false, errno.ErrInvalid
}

func cmpVals(o Object, op cmpomap.Compare) ([]byte, error) {
	for _, k := range slices.Sorted(maps.Keys(op.Values)) {
		have, ok := o.Omap(k)
		if !ok {
			if !op.HasDefault {
				return nil, errno.ErrCanceled
			}
			have = op.Default
		}
		holds, err := compareValue(op.Mode, op.Op, op.Values[k], have)
		if err != nil {
			return nil, err
		}
		if !holds {
			return nil, errno.ErrCanceled
		}
	}
	return nil, nil
}

// compareTo is compareValue for methods that change: a stored number that is
// none only does not compare.
func compareTo(mode cmpomap.Mode, op cmpomap.Op, input, have []byte) (bool, error) {
	holds, err := compareValue(mode, op, input, have)
	if err == errno.ErrIO {
		return false, nil
	}
	return holds, err
}

func cmpSetVals(o Object, op cmpomap.Compare) ([]byte, error) {
	var set []string
	for _, k := range slices.Sorted(maps.Keys(op.Values)) {
		have, ok := o.Omap(k)
		if !ok {
			if !op.HasDefault {
				continue
			}
			have = op.Default
		}
		holds, err := compareTo(op.Mode, op.Op, op.Values[k], have)
		if err != nil {
			return nil, err
		}
		if holds {
			set = append(set, k)
		}
	}
	for _, k := range set {
		o.SetOmap(k, op.Values[k])
	}
	return nil, nil
}

func cmpRmKeys(o Object, op cmpomap.Remove) ([]byte, error) {
	for _, k := range slices.Sorted(maps.Keys(op.Values)) {
		have, ok := o.Omap(k)
		if !ok {
			continue
		}
		holds, err := compareTo(op.Mode, op.Op, op.Values[k], have)
		if err != nil {
			return nil, err
		}
		if !holds {
			continue
		}
		if err := removeKey(o, k); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
