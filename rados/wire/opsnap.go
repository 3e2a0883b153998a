package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// SnapClone is clone_info: one stored state of an object. hdr(1,1).
type SnapClone struct {
	// ID is the clone's id, the newest of its snapshots, or SnapHead.
	ID uint64
	// Snaps lists the snapshots that see this state, ascending.
	Snaps []uint64
	// Overlap lists the ranges that are equal in the next newer state.
	Overlap []Range
	Size    uint64 // bytes
}

func (c *SnapClone) append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU64(b, c.ID)
	b = denc.AppendSlice(b, c.Snaps, denc.AppendU64)
	b = denc.AppendSlice(b, c.Overlap, appendRange)
	b = denc.AppendU64(b, c.Size)
	return denc.End(b, at)
}

func (c *SnapClone) decode(r *denc.Reader) {
	s := r.Enter("clone_info", 1)
	c.ID = r.U64()
	c.Snaps = denc.Slice(r, 8, readU64)
	c.Overlap = denc.Slice(r, 16, readRange)
	c.Size = r.U64()
	r.Leave(s)
}

// SnapList is obj_list_snap_response_t, the output of list-snaps. hdr(2,1).
type SnapList struct {
	// Clones stand in ascending order; the head, when it exists, is the last.
	Clones []SnapClone
	// Seq is the newest snapshot that the object has seen.
	Seq uint64
}

// Append appends l.
func (l *SnapList) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendSlice(b, l.Clones, func(b []byte, c SnapClone) []byte { return c.append(b) })
	b = denc.AppendU64(b, l.Seq)
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (l *SnapList) Decode(r *denc.Reader) {
	s := r.Enter("obj_list_snap_response_t", 2)
	l.Clones = denc.Slice(r, 6, func(r *denc.Reader) (c SnapClone) {
		c.decode(r)
		return c
	})
	l.Seq = r.U64()
	r.Leave(s)
}

// SnapContext is the newest snapshot id and the live ids, descending, that a
// write is made under.
type SnapContext struct {
	Seq   uint64
	Snaps []uint64
}

// Append appends c.
func (c *SnapContext) Append(b []byte) []byte {
	return denc.AppendSlice(denc.AppendU64(b, c.Seq), c.Snaps, denc.AppendU64)
}

// Decode reads what Append wrote.
func (c *SnapContext) Decode(r *denc.Reader) {
	c.Seq = r.U64()
	c.Snaps = denc.Slice(r, 8, readU64)
}
