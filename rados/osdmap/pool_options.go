package osdmap

import (
	"math"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Kinds of pool option values.
const (
	OptionString int32 = 0
	OptionInt    int32 = 1
	OptionDouble int32 = 2
)

// PoolOption is one entry of pool_opts_t: Key is pool_opts_t::key_t, Kind says
// which of the values counts.
type PoolOption struct {
	Key, Kind int32
	Str       string
	Int       int64
	Double    float64
}

// appendPoolOptions appends section (2,1): u32 count, then s32 key, s32 kind
// and value of each, ascending.
func appendPoolOptions(b []byte, opts []PoolOption) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendSlice(b, opts, func(b []byte, o PoolOption) []byte {
		b = denc.AppendS32(denc.AppendS32(b, o.Key), o.Kind)
		switch o.Kind {
		case OptionString:
			return denc.AppendString(b, o.Str)
		case OptionDouble:
			return denc.AppendU64(b, math.Float64bits(o.Double))
		}
		return denc.AppendS64(b, o.Int)
	})
	return denc.End(b, at)
}

// readPoolOptions reads versions 1 (integers of 32 bits) and 2.
func readPoolOptions(r *denc.Reader) []PoolOption {
	s := r.Enter("pool_opts_t", 2)
	opts := denc.Slice(r, 12, func(r *denc.Reader) PoolOption {
		o := PoolOption{Key: r.S32(), Kind: r.S32()}
		switch {
		case o.Kind == OptionString:
			o.Str = r.String()
		case o.Kind == OptionDouble:
			o.Double = math.Float64frombits(r.U64())
		case o.Kind == OptionInt && s.V >= 2:
			o.Int = r.S64()
		case o.Kind == OptionInt:
			o.Int = int64(r.S32())
		default:
			r.Failf("pool option of kind %d", o.Kind)
		}
		return o
	})
	r.Leave(s)
	return opts
}

func appendStringMap(b []byte, m map[string]string) []byte {
	return denc.AppendMap(b, m, denc.AppendString, denc.AppendString)
}

func readStringMap(r *denc.Reader) map[string]string {
	return denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String)
}

// readRawSection reads a whole versioned section without looking into it. The
// result aliases the input.
func readRawSection(r *denc.Reader) []byte {
	head := r.Raw(6)
	if head == nil {
		return nil
	}
	n := uint32(head[2]) | uint32(head[3])<<8 | uint32(head[4])<<16 | uint32(head[5])<<24
	if uint64(n) > uint64(r.Len()) {
		r.Fail(denc.ErrShort)
		return nil
	}
	body := r.Raw(int(n))
	return append(append(make([]byte, 0, 6+len(body)), head...), body...)
}

// appendVarint appends v in groups of seven bits, the lowest first, the top
// bit of a byte saying that more follow (denc_varint).
func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func readVarint(r *denc.Reader) uint64 {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.U8()
		v |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return v
		}
	}
	r.Failf("varint of more than 64 bits")
	return 0
}
