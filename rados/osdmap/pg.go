package osdmap

import (
	"cmp"
	"strconv"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// PG is pg_t: one placement group. A PG whose Seed has not been folded into
// the pool's pg_num yet ("raw") carries an object's full 32-bit hash.
type PG struct {
	Pool int64
	Seed uint32
}

// PGSize is the length of an encoded PG.
const PGSize = 17

// String returns Ceph's form: pool in decimal, seed in hex, "2.1f".
func (p PG) String() string {
	return strconv.FormatInt(p.Pool, 10) + "." + strconv.FormatUint(uint64(p.Seed), 16)
}

// Append appends u8 1, u64 pool, u32 seed, s32 -1 (once a preferred OSD).
func (p PG) Append(b []byte) []byte {
	b = denc.AppendU8(b, 1)
	b = denc.AppendS64(b, p.Pool)
	b = denc.AppendU32(b, p.Seed)
	return denc.AppendS32(b, -1)
}

// Decode reads what Append wrote.
func (p *PG) Decode(r *denc.Reader) {
	if v := r.U8(); v != 1 {
		r.Failf("pg_t version %d", v)
	}
	p.Pool = r.S64()
	p.Seed = r.U32()
	r.Skip(4)
}

// Compare orders by pool, then seed, the order of Ceph's maps of PGs.
func (p PG) Compare(o PG) int {
	return cmp.Or(cmp.Compare(uint64(p.Pool), uint64(o.Pool)), cmp.Compare(p.Seed, o.Seed))
}

// NoShard is the Shard of a PG of a replicated pool.
const NoShard int8 = -1

// SPG is spg_t: a PG and, in an erasure coded pool, the shard of it.
type SPG struct {
	PG
	Shard int8
}

// String returns the form "2.1f" or, with a shard, "2.1fs3".
func (s SPG) String() string {
	if s.Shard == NoShard {
		return s.PG.String()
	}
	return s.PG.String() + "s" + strconv.Itoa(int(s.Shard))
}

// Append appends section (1,1): PG, s8 shard.
func (s SPG) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = s.PG.Append(b)
	b = denc.AppendU8(b, uint8(s.Shard))
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (s *SPG) Decode(r *denc.Reader) {
	sec := r.Enter("spg_t", 1)
	s.PG.Decode(r)
	s.Shard = int8(r.U8())
	r.Leave(sec)
}
