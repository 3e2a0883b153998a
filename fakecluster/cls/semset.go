package cls

import (
	"maps"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/cls/semset"
	"github.com/rbdm/rbdm/rados/errno"
)

func semsetMethods() map[string]method {
	return map[string]method{
		semset.MethodIncrement: write(taking(semIncrement)),
		semset.MethodDecrement: write(taking(semDecrement)),
		semset.MethodReset:     write(taking(semReset)),
		semset.MethodList:      read(taking(semList)),
	}
}

func semIncrement(o Object, op semset.Increment) ([]byte, error) {
	keys := sorted(op.Keys)
	if len(keys) > semset.MaxKeys {
		return nil, errno.ErrTooBig
	}
	for _, k := range keys {
		v, err := value(o, semset.Prefix+k, one[semset.Value])
		if v, err = otherwise(v, err, semset.Value{}); err != nil {
			return nil, err
		}
		v.Value++
		v.Decremented = realTime(v.Decremented)
		o.SetOmap(semset.Prefix+k, v.Append(nil))
	}
	return nil, nil
}

// sorted are the keys of a set.
func sorted(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}

func semDecrement(o Object, op semset.Decrement) ([]byte, error) {
	keys := sorted(op.Keys)
	if len(keys) > semset.MaxKeys {
		return nil, errno.ErrTooBig
	}
	t := o.Now()
	for _, k := range keys {
		v, err := value(o, semset.Prefix+k, one[semset.Value])
		if err != nil {
			return nil, err
		}
		last := time.Unix(int64(v.Decremented.Sec), int64(v.Decremented.Nsec))
		if age := t.Sub(last); age < 0 || op.Grace < 0 || age < op.Grace {
			continue
		}
		if v.Value <= 1 {
			o.RemoveOmap(semset.Prefix + k)
			continue
		}
		v.Value--
		v.Decremented = denc.TimeOf(t)
		o.SetOmap(semset.Prefix+k, v.Append(nil))
	}
	return nil, nil
}

func semReset(o Object, op semset.Reset) ([]byte, error) {
	if len(op.Keys) > semset.MaxKeys {
		return nil, errno.ErrTooBig
	}
	for _, k := range slices.Sorted(maps.Keys(op.Keys)) {
		o.SetOmap(semset.Prefix+k, semset.Value{Value: op.Keys[k]}.Append(nil))
	}
	return nil, nil
}

func semList(o Object, op semset.List) ([]byte, error) {
	p := semset.Page{Values: map[string]uint64{}, Cursor: op.Cursor}
	for count := op.Count; count > 0; {
		keys, values, more, err := o.OmapPage(semset.Prefix+p.Cursor+"\x01", semset.Prefix, count)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			v, err := parse[semset.Value](values[k])
			if err != nil {
				return nil, err
			}
			p.Cursor = k[len(semset.Prefix):]
			p.Values[p.Cursor] = v.Value
		}
		if count -= uint64(len(keys)); !more {
			p.Cursor = ""
			break
		}
	}
	return p.Append(nil), nil
}
