package osdmap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/crush"
)

// ErrCRC says that an encoded map's checksum does not match its bytes.
var ErrCRC = errors.New("checksum of the OSD map is wrong")

const (
	mapVersion, mapCompat = 8, 7
	// clientMax and osdMax are the newest versions of the inner sections that
	// are known; both have been readable by version 1 readers ever since.
	clientMax, osdMax = 10, 12
	// clientMin is the oldest client section that is read: Mimic's, with
	// addresses as vectors from Nautilus on.
	clientMin = 5
	// maxOSDs bounds the OSD numbers a map may have room for.
	maxOSDs = 1 << 17
)

// Append appends the full map as monitors do for readers with features.
func (m *Map) Append(b []byte, features uint64) []byte {
	start := len(b)
	b, at := denc.Begin(b, mapVersion, mapCompat)
	b = m.appendClient(b, features)
	b = m.OSDOnly.append(b, len(m.State))
	crcAt := len(b)
	b = denc.End(denc.AppendU32(b, 0), at)
	binary.LittleEndian.PutUint32(b[crcAt:], denc.CRC32C(math.MaxUint32, b[start:crcAt]))
	return b
}

// CRC returns the checksum inside a full map that Append wrote.
func CRC(full []byte) uint32 {
	if len(full) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(full[len(full)-4:])
}

func (m *Map) appendClient(b []byte, features uint64) []byte {
	v := uint8(9)
	if takesUpmapPrimaries(features) {
		v = 10
	}
	b, at := denc.Begin(b, v, 1)
	b = denc.AppendUUID(b, m.FSID)
	b = denc.AppendU32(b, m.Epoch)
	b = denc.AppendTime(b, m.Created)
	b = denc.AppendTime(b, m.Modified)
	b = appendPools(b, m.Pools, features)
	b = denc.AppendMap(b, m.PoolNames, denc.AppendS64, denc.AppendString)
	b = denc.AppendS32(b, m.PoolMax)
	b = denc.AppendU32(b, m.Flags)
	b = denc.AppendS32(b, int32(len(m.State)))
	b = denc.AppendSlice(b, m.State, denc.AppendU32)
	b = denc.AppendSlice(b, m.Weight, denc.AppendU32)
	b = denc.AppendSlice(b, m.Addrs, appendAddrVec)
	b = appendPGMap(b, m.PGTemp, appendOSDs)
	b = appendPGMap(b, m.PrimaryTemp, denc.AppendS32)
	b = denc.AppendSlice(b, m.Affinity, denc.AppendU32)
	b = denc.AppendBytes(b, m.Crush.Append(nil))
	b = denc.AppendMap(b, m.ErasureCodes, denc.AppendString, appendStringMap)
	b = appendPGMap(b, m.Upmap, appendOSDs)
	b = appendPGMap(b, m.UpmapItems, appendUpmapItems)
	b = denc.AppendU32(b, m.CrushVersion)
	b = denc.AppendMap(b, m.NewRemoved, denc.AppendS64, appendIntervals)
	b = denc.AppendMap(b, m.NewPurged, denc.AppendS64, appendIntervals)
	b = denc.AppendTime(b, m.LastUpChange)
	b = denc.AppendTime(b, m.LastInChange)
	if v >= 10 {
		b = appendPGMap(b, m.UpmapPrimary, denc.AppendS32)
	}
	return denc.End(b, at)
}

func (o *OSDOnly) append(b []byte, n int) []byte {
	osds := o.OSDs
	if len(osds) < n {
		osds = append(slices.Clone(osds), make([]OSDDetail, n-len(osds))...)
	}
	b, at := denc.Begin(b, o.version(), 1)
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return d.HBBack.Append(b) })
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return d.Info.Append(b) })
	b = appendAddrMap(b, o.Blocklist)
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return d.Cluster.Append(b) })
	b = denc.AppendU32(b, o.SnapshotEpoch)
	b = denc.AppendString(b, o.Snapshot)
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return denc.AppendUUID(b, d.UUID) })
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return d.XInfo.Append(b) })
	b = denc.AppendSlice(b, osds, func(b []byte, d OSDDetail) []byte { return d.HBFront.Append(b) })
	b = appendFloat(b, o.NearFull)
	b = appendFloat(b, o.Full)
	b = appendFloat(b, o.BackfillFull)
	b = append(b, o.MinCompatClient, o.RequireRelease)
	b = denc.AppendMap(b, o.RemovedSnapsQueue, denc.AppendS64, appendIntervals)
	b = denc.AppendMap(b, o.NodeFlags, denc.AppendS32, denc.AppendU32)
	b = denc.AppendMap(b, o.ClassFlags, denc.AppendS32, denc.AppendU32)
	v := o.version()
	if v >= 10 {
		b = denc.AppendBool(b, o.Stretch.Enabled)
		b = o.Stretch.appendRest(b)
	}
	if v >= 11 {
		b = appendAddrMap(b, o.RangeBlocklist)
	}
	if v >= 12 {
		b = denc.AppendBool(b, o.AllowCrimson)
	}
	return denc.End(b, at)
}

// version is 9 unless something needs a newer one.
func (o *OSDOnly) version() uint8 {
	switch {
	case o.AllowCrimson:
		return 12
	case len(o.RangeBlocklist) > 0:
		return 11
	case o.Stretch.Enabled:
		return 10
	}
	return 9
}

// Decode reads a full map and verifies its checksum. The result does not alias
// full. Maps older than Luminous are refused.
func Decode(full []byte) (*Map, error) {
	r := denc.NewReader(full)
	m := &Map{}
	s := r.Enter("OSDMap", mapVersion)
	if r.Err() == nil && s.V < mapVersion {
		r.Failf("OSDMap version %d", s.V)
	}
	m.decodeClient(r)
	m.OSDOnly.decode(r, len(m.State))
	end := r.Offset()
	crc := r.U32()
	tail := r.Rest()
	r.Leave(s)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("OSD map: %w", err)
	}
	if got := denc.CRC32C(denc.CRC32C(math.MaxUint32, full[:end]), tail); got != crc {
		return nil, fmt.Errorf("OSD map of epoch %d: %w: %#x, not %#x", m.Epoch, ErrCRC, got, crc)
	}
	if err := m.index(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Map) decodeClient(r *denc.Reader) {
	s := r.Enter("OSDMap client part", clientMax)
	if r.Err() == nil && s.V < clientMin {
		r.Failf("OSDMap client part version %d", s.V)
	}
	m.FSID, m.Epoch, m.Created, m.Modified = r.UUID(), r.U32(), r.Time(), r.Time()
	m.Pools = readPools(r)
	m.PoolNames = denc.Map(r, 12, (*denc.Reader).S64, (*denc.Reader).String)
	m.PoolMax = r.S32()
	m.Flags = r.U32()
	maxOSD := r.S32()
	m.State = denc.Slice(r, 4, (*denc.Reader).U32)
	if r.Err() == nil && (maxOSD < 0 || maxOSD > maxOSDs || len(m.State) != int(maxOSD)) {
		r.Failf("max_osd %d, %d states", maxOSD, len(m.State))
	}
	m.Weight = denc.Slice(r, 4, (*denc.Reader).U32)
	m.Addrs = denc.Slice(r, 5, readAddrVec)
	m.PGTemp = readPGMap(r, 4, readOSDs)
	m.PrimaryTemp = readPGMap(r, 4, (*denc.Reader).S32)
	m.Affinity = denc.Slice(r, 4, (*denc.Reader).U32)
	m.Crush = readCrush(r, r.Bytes())
	m.ErasureCodes = denc.Map(r, 8, (*denc.Reader).String, readStringMap)
	m.Upmap = readPGMap(r, 4, readOSDs)
	m.UpmapItems = readPGMap(r, 4, readUpmapItems)
	if s.V >= 6 {
		m.CrushVersion = r.U32()
	}
	if s.V >= 7 {
		m.NewRemoved = denc.Map(r, 12, (*denc.Reader).S64, readIntervals)
		m.NewPurged = denc.Map(r, 12, (*denc.Reader).S64, readIntervals)
	}
	if s.V >= 9 {
		m.LastUpChange, m.LastInChange = r.Time(), r.Time()
	}
	if s.V >= 10 {
		m.UpmapPrimary = readPGMap(r, 4, (*denc.Reader).S32)
	}
	r.Leave(s)
}

func (o *OSDOnly) decode(r *denc.Reader, n int) {
	s := r.Enter("OSDMap OSD part", osdMax)
	if r.Err() == nil && s.V < 5 {
		r.Failf("OSDMap OSD part version %d", s.V)
	}
	if r.Err() != nil {
		r.Leave(s)
		return
	}
	o.OSDs = make([]OSDDetail, n)
	each := func(one func(d *OSDDetail)) {
		count := r.Count(1)
		if r.Err() == nil && count != n {
			r.Failf("%d entries for %d OSDs", count, n)
		}
		for i := 0; i < n && r.Err() == nil; i++ {
			one(&o.OSDs[i])
		}
	}
	each(func(d *OSDDetail) { d.HBBack.Decode(r) })
	each(func(d *OSDDetail) { d.Info.Decode(r) })
	o.Blocklist = denc.Map(r, 8, readAddr, (*denc.Reader).Time)
	each(func(d *OSDDetail) { d.Cluster.Decode(r) })
	o.SnapshotEpoch = r.U32()
	o.Snapshot = r.String()
	each(func(d *OSDDetail) { d.UUID = r.UUID() })
	each(func(d *OSDDetail) { d.XInfo.Decode(r) })
	each(func(d *OSDDetail) { d.HBFront.Decode(r) })
	o.NearFull, o.Full, o.BackfillFull = readFloat(r), readFloat(r), readFloat(r)
	o.MinCompatClient, o.RequireRelease = r.U8(), r.U8()
	if s.V >= 6 {
		o.RemovedSnapsQueue = denc.Map(r, 12, (*denc.Reader).S64, readIntervals)
	}
	if s.V >= 8 {
		o.NodeFlags = denc.Map(r, 8, (*denc.Reader).S32, (*denc.Reader).U32)
	}
	if s.V >= 9 {
		o.ClassFlags = denc.Map(r, 8, (*denc.Reader).S32, (*denc.Reader).U32)
	}
	if s.V >= 10 {
		o.Stretch.Enabled = r.Bool()
		o.Stretch.decodeRest(r)
	}
	if s.V >= 11 {
		o.RangeBlocklist = denc.Map(r, 8, readAddr, (*denc.Reader).Time)
	}
	if s.V >= 12 {
		o.AllowCrimson = r.Bool()
	}
	r.Leave(s)
}

func (s *Stretch) appendRest(b []byte) []byte {
	b = denc.AppendU32(b, s.BucketCount)
	b = denc.AppendU32(b, s.Degraded)
	b = denc.AppendU32(b, s.Recovering)
	return denc.AppendS32(b, s.Bucket)
}

func (s *Stretch) decodeRest(r *denc.Reader) {
	s.BucketCount, s.Degraded, s.Recovering, s.Bucket = r.U32(), r.U32(), r.U32(), r.S32()
}

// Append appends u8 1 and six epochs.
func (i OSDInfo) Append(b []byte) []byte {
	b = denc.AppendU8(b, 1)
	for _, v := range []uint32{i.LastCleanBegin, i.LastCleanEnd, i.UpFrom, i.UpThru, i.DownAt, i.LostAt} {
		b = denc.AppendU32(b, v)
	}
	return b
}

// Decode reads what Append wrote.
func (i *OSDInfo) Decode(r *denc.Reader) {
	r.U8()
	*i = OSDInfo{r.U32(), r.U32(), r.U32(), r.U32(), r.U32(), r.U32()}
}

// Append appends section (4,1).
func (x OSDXInfo) Append(b []byte) []byte {
	b, at := denc.Begin(b, 4, 1)
	b = denc.AppendTime(b, x.DownStamp)
	b = denc.AppendU32(b, x.LaggyProbability)
	b = denc.AppendU32(b, x.LaggyInterval)
	b = denc.AppendU64(b, x.Features)
	b = denc.AppendU32(b, x.OldWeight)
	b = denc.AppendTime(b, x.LastPurgedSnapScrub)
	b = denc.AppendU32(b, x.DeadEpoch)
	return denc.End(b, at)
}

// Decode reads versions 1 to 4.
func (x *OSDXInfo) Decode(r *denc.Reader) {
	s := r.Enter("osd_xinfo_t", 4)
	*x = OSDXInfo{DownStamp: r.Time(), LaggyProbability: r.U32(), LaggyInterval: r.U32()}
	if s.V >= 2 {
		x.Features = r.U64()
	}
	if s.V >= 3 {
		x.OldWeight = r.U32()
	}
	if s.V >= 4 {
		x.LastPurgedSnapScrub, x.DeadEpoch = r.Time(), r.U32()
	}
	r.Leave(s)
}

func appendPools(b []byte, pools map[int64]*Pool, features uint64) []byte {
	return denc.AppendMap(b, pools, denc.AppendS64, func(b []byte, p *Pool) []byte { return p.Append(b, features) })
}

func readPools(r *denc.Reader) map[int64]*Pool {
	return denc.Map(r, 14, (*denc.Reader).S64, func(r *denc.Reader) *Pool {
		p := &Pool{}
		p.Decode(r)
		return p
	})
}

func readCrush(r *denc.Reader, p []byte) *crush.Map {
	c := &crush.Map{}
	in := denc.NewReader(p)
	if c.Decode(in); in.Err() != nil {
		r.Fail(in.Err())
		return nil
	}
	return c
}

func appendAddrVec(b []byte, v entity.AddrVec) []byte { return v.Append(b) }

func readAddrVec(r *denc.Reader) (v entity.AddrVec) {
	v.Decode(r)
	return v
}

func readAddr(r *denc.Reader) (a entity.Addr) {
	a.Decode(r)
	return a
}

// appendAddrMap appends addresses and times in the order in which Ceph sorts
// addresses: by the bytes of type, nonce and socket address in memory.
func appendAddrMap(b []byte, m map[entity.Addr]denc.Time) []byte {
	b = denc.AppendU32(b, uint32(len(m)))
	for _, a := range sortedAddrs(maps.Keys(m)) {
		b = denc.AppendTime(a.Append(b), m[a])
	}
	return b
}

func appendOSDs(b []byte, osds []int32) []byte { return denc.AppendSlice(b, osds, denc.AppendS32) }

func readOSDs(r *denc.Reader) []int32 { return denc.Slice(r, 4, (*denc.Reader).S32) }

func appendUpmapItems(b []byte, items []UpmapItem) []byte {
	return denc.AppendSlice(b, items, func(b []byte, i UpmapItem) []byte {
		return denc.AppendS32(denc.AppendS32(b, i.From), i.To)
	})
}

func readUpmapItems(r *denc.Reader) []UpmapItem {
	return denc.Slice(r, 8, func(r *denc.Reader) UpmapItem { return UpmapItem{r.S32(), r.S32()} })
}

func appendPGMap[V any](b []byte, m map[PG]V, val func([]byte, V) []byte) []byte {
	b = denc.AppendU32(b, uint32(len(m)))
	for _, pg := range slices.SortedFunc(maps.Keys(m), PG.Compare) {
		b = val(pg.Append(b), m[pg])
	}
	return b
}

func readPG(r *denc.Reader) (p PG) {
	p.Decode(r)
	return p
}

// readPGMap reads a map of PGs; an empty one is nil.
func readPGMap[V any](r *denc.Reader, minSize int, val func(*denc.Reader) V) map[PG]V {
	if m := denc.Map(r, PGSize+minSize, readPG, val); len(m) > 0 {
		return m
	}
	return nil
}

func appendFloat(b []byte, f float32) []byte { return denc.AppendU32(b, math.Float32bits(f)) }

func readFloat(r *denc.Reader) float32 { return math.Float32frombits(r.U32()) }

// addrOrder returns the bytes of an address as Ceph compares them.
func addrOrder(a entity.Addr) []byte {
	b := denc.AppendU32(nil, uint32(a.Type))
	b = denc.AppendU32(b, a.Nonce)
	raw := a.Append(nil)
	return append(b, raw[min(len(raw), addrSockaddr):]...)
}

// addrSockaddr is where an encoded address's socket address begins.
const addrSockaddr = 1 + 6 + 4 + 4 + 4

func sortedAddrs(seq func(func(entity.Addr) bool)) []entity.Addr {
	return slices.SortedFunc(seq, func(a, b entity.Addr) int {
		return cmp.Or(bytes.Compare(addrOrder(a), addrOrder(b)))
	})
}
