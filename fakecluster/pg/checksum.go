package pg

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

func (t *txn) checksum(op *wire.Op) (msgr2.Data, int32) {
	a := op.Checksum()
	size, chunk := t.size(), uint64(a.ChunkSize)
	if chunk > 0 && (a.Len == 0 || a.Len%chunk != 0) {
		return msgr2.Data{}, inval
	}
	switch {
	case a.Off == 0 && a.Len == 0:
		a.Len = size
	case a.Off >= size:
		return msgr2.Data{}, 0 // not even a count
	case a.Len > size-a.Off:
		a.Len = size - a.Off
	}
	op.SetChecksum(a)
	if chunk > 0 && a.Len%chunk != 0 {
		return msgr2.Data{}, inval
	}
	r := reader(op)
	var seed uint64
	switch a.Type {
	case wire.ChecksumXXHash32, wire.ChecksumCRC32C:
		seed = uint64(r.U32())
	case wire.ChecksumXXHash64:
		seed = r.U64()
	default:
		return msgr2.Data{}, inval
	}
	if r.Err() != nil {
		return msgr2.Data{}, inval
	}
	if chunk == 0 {
		chunk = a.Len
	}
	if t.req.Pool.Erasure && a.Len > 0 {
		if t.await() {
			return msgr2.Data{}, inProgress
		}
		if !t.stored {
			return msgr2.Data{}, inval
		}
	}
	p := t.readData(a.Off, a.Len).Bytes()
	if !t.stored && a.Len > 0 {
		return msgr2.Data{}, noent
	}
	if uint64(len(p)) != a.Len {
		return msgr2.Data{}, inval
	}
	var sums []uint64
	for len(p) > 0 {
		sums = append(sums, sum(a.Type, seed, p[:chunk]))
		p = p[chunk:]
	}
	return msgr2.NewData(wire.AppendChecksums(nil, a.Type, sums)), 0
}

func sum(t wire.ChecksumType, seed uint64, p []byte) uint64 {
	switch t {
	case wire.ChecksumCRC32C:
		return uint64(denc.CRC32C(uint32(seed), p))
	case wire.ChecksumXXHash64:
		d := xxhash.NewWithSeed(seed)
		_, _ = d.Write(p)
		return d.Sum64()
	}
	return uint64(xxh32(uint32(seed), p))
}

const (
	prime1 uint32 = 2654435761
	prime2 uint32 = 2246822519
	prime3 uint32 = 3266489917
	prime4 uint32 = 668265263
	prime5 uint32 = 374761393
)

// xxh32 is XXH32.
func xxh32(seed uint32, p []byte) uint32 {
	h := seed + prime5
	n := uint32(len(p))
	if len(p) >= 16 {
		v := [4]uint32{seed + prime1 + prime2, seed + prime2, seed, seed - prime1}
		for ; len(p) >= 16; p = p[16:] {
			for i := range v {
				v[i] = bits.RotateLeft32(v[i]+binary.LittleEndian.Uint32(p[4*i:])*prime2, 13) * prime1
			}
		}
		h = bits.RotateLeft32(v[0], 1) + bits.RotateLeft32(v[1], 7) + bits.RotateLeft32(v[2], 12) + bits.RotateLeft32(v[3], 18)
	}
	h += n
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*prime3, 17) * prime4
	}
	for _, b := range p {
		h = bits.RotateLeft32(h+uint32(b)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}
