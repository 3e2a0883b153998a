package osdmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// ErrEpoch says that an incremental does not follow the map it is applied to,
// or belongs to another cluster.
var ErrEpoch = errors.New("incremental does not follow this OSD map")

// Incremental is OSDMap::Incremental: what changes from the epoch before.
// NewIncremental gives one that changes nothing.
type Incremental struct {
	FSID     denc.UUID
	Epoch    uint32
	Modified denc.Time

	// NewPoolMax, NewFlags and NewMaxOSD are -1 when they do not change.
	NewPoolMax int64
	NewFlags   int32
	NewMaxOSD  int32
	// FullMap, if not empty, replaces the map; Crush its CRUSH map.
	FullMap, Crush []byte

	NewPools     map[int64]*Pool
	NewPoolNames map[int64]string
	OldPools     []int64
	NewUp        map[int32]entity.AddrVec
	// NewState holds bits to flip; 0 flips StateUp.
	NewState    map[int32]uint32
	NewWeight   map[int32]uint32
	NewAffinity map[int32]uint32
	// NewPGTemp and NewPrimaryTemp remove an entry by an empty set and by -1.
	NewPGTemp       map[PG][]int32
	NewPrimaryTemp  map[PG]int32
	NewErasureCodes map[string]map[string]string
	OldErasureCodes []string

	NewUpmap        map[PG][]int32
	NewUpmapItems   map[PG][]UpmapItem
	NewUpmapPrimary map[PG]int32
	OldUpmap        []PG
	OldUpmapItems   []PG
	OldUpmapPrimary []PG

	NewRemoved, NewPurged      map[int64]IntervalSet
	LastUpChange, LastInChange denc.Time
	OSDOnly                    IncOSDOnly

	// FullCRC is the checksum of the full map that results, as encoded with
	// EncodeFeatures. Decode fills both, Next too.
	FullCRC uint32
}

// IncOSDOnly is the part of an Incremental that OSDs and monitors use.
type IncOSDOnly struct {
	HBBackUp, ClusterUp, HBFrontUp map[int32]entity.AddrVec
	UpThru, Lost                   map[int32]uint32
	LastClean                      map[int32][2]uint32
	NewBlocklist                   map[entity.Addr]denc.Time
	OldBlocklist                   []entity.Addr
	Snapshot                       string
	UUIDs                          map[int32]denc.UUID
	XInfo                          map[int32]OSDXInfo
	EncodeFeatures                 uint64
	// The ratios are -1 when they do not change.
	NearFull, Full, BackfillFull float32
	// MinCompatClient and RequireRelease are 0 or 0xff when they do not change.
	MinCompatClient, RequireRelease uint8
	NodeFlags, ClassFlags           map[int32]uint32
	ChangeStretch                   bool
	Stretch                         Stretch
	NewRangeBlocklist               map[entity.Addr]denc.Time
	OldRangeBlocklist               []entity.Addr
	// MutateCrimson is 0 for no change, 1 to allow, 2 to forbid.
	MutateCrimson uint32
}

// NewIncremental returns an incremental to m's next epoch that changes nothing.
func (m *Map) NewIncremental() *Incremental {
	return &Incremental{
		FSID: m.FSID, Epoch: m.Epoch + 1, Modified: m.Modified,
		NewPoolMax: -1, NewFlags: -1, NewMaxOSD: -1,
		OSDOnly: IncOSDOnly{NearFull: -1, Full: -1, BackfillFull: -1},
	}
}

// Next applies inc, and returns the map that results together with the encoded
// forms of both for readers with features, checksums included. It is what a
// monitor does for every epoch.
func (m *Map) Next(inc *Incremental, features uint64) (next *Map, full, encoded []byte, err error) {
	if next, err = m.Apply(inc); err != nil {
		return nil, nil, nil, err
	}
	full = next.Append(nil, features)
	inc.FullCRC = CRC(full)
	return next, full, inc.Append(nil, features), nil
}

// Append appends the incremental as monitors do for readers with features. The
// checksum inside covers FullCRC too.
func (inc *Incremental) Append(b []byte, features uint64) []byte {
	start := len(b)
	b, at := denc.Begin(b, mapVersion, mapCompat)
	b = inc.appendClient(b, features)
	b = inc.OSDOnly.append(b, features)
	crcAt := len(b)
	b = denc.AppendU32(b, 0)
	b = denc.End(denc.AppendU32(b, inc.FullCRC), at)
	crc := denc.CRC32C(math.MaxUint32, b[start:crcAt])
	binary.LittleEndian.PutUint32(b[crcAt:], denc.CRC32C(crc, b[crcAt+4:]))
	return b
}

func (inc *Incremental) appendClient(b []byte, features uint64) []byte {
	v := uint8(8)
	if takesUpmapPrimaries(features) {
		v = 9
	}
	b, at := denc.Begin(b, v, 1)
	b = denc.AppendUUID(b, inc.FSID)
	b = denc.AppendU32(b, inc.Epoch)
	b = denc.AppendTime(b, inc.Modified)
	b = denc.AppendS64(b, inc.NewPoolMax)
	b = denc.AppendS32(b, inc.NewFlags)
	b = denc.AppendBytes(b, inc.FullMap)
	b = denc.AppendBytes(b, inc.Crush)
	b = denc.AppendS32(b, inc.NewMaxOSD)
	b = appendPools(b, inc.NewPools, features)
	b = denc.AppendMap(b, inc.NewPoolNames, denc.AppendS64, denc.AppendString)
	b = denc.AppendSlice(b, inc.OldPools, denc.AppendS64)
	b = denc.AppendMap(b, inc.NewUp, denc.AppendS32, appendAddrVec)
	b = denc.AppendMap(b, inc.NewState, denc.AppendS32, denc.AppendU32)
	b = denc.AppendMap(b, inc.NewWeight, denc.AppendS32, denc.AppendU32)
	b = appendPGMap(b, inc.NewPGTemp, appendOSDs)
	b = appendPGMap(b, inc.NewPrimaryTemp, denc.AppendS32)
	b = denc.AppendMap(b, inc.NewAffinity, denc.AppendS32, denc.AppendU32)
	b = denc.AppendMap(b, inc.NewErasureCodes, denc.AppendString, appendStringMap)
	b = denc.AppendSlice(b, inc.OldErasureCodes, denc.AppendString)
	b = appendPGMap(b, inc.NewUpmap, appendOSDs)
	b = denc.AppendSlice(b, inc.OldUpmap, appendPG)
	b = appendPGMap(b, inc.NewUpmapItems, appendUpmapItems)
	b = denc.AppendSlice(b, inc.OldUpmapItems, appendPG)
	b = denc.AppendMap(b, inc.NewRemoved, denc.AppendS64, appendIntervals)
	b = denc.AppendMap(b, inc.NewPurged, denc.AppendS64, appendIntervals)
	b = denc.AppendTime(b, inc.LastUpChange)
	b = denc.AppendTime(b, inc.LastInChange)
	if v >= 9 {
		b = appendPGMap(b, inc.NewUpmapPrimary, denc.AppendS32)
		b = denc.AppendSlice(b, inc.OldUpmapPrimary, appendPG)
	}
	return denc.End(b, at)
}

// version is 9 unless something needs a newer one.
func (o *IncOSDOnly) version() uint8 {
	switch {
	case o.MutateCrimson != 0:
		return 12
	case len(o.NewRangeBlocklist)+len(o.OldRangeBlocklist) > 0:
		return 11
	case o.ChangeStretch:
		return 10
	}
	return 9
}

func (o *IncOSDOnly) append(b []byte, features uint64) []byte {
	v := o.version()
	b, at := denc.Begin(b, v, 1)
	b = denc.AppendMap(b, o.HBBackUp, denc.AppendS32, appendAddrVec)
	b = denc.AppendMap(b, o.UpThru, denc.AppendS32, denc.AppendU32)
	b = denc.AppendMap(b, o.LastClean, denc.AppendS32, func(b []byte, p [2]uint32) []byte {
		return denc.AppendU32(denc.AppendU32(b, p[0]), p[1])
	})
	b = denc.AppendMap(b, o.Lost, denc.AppendS32, denc.AppendU32)
	b = appendAddrMap(b, o.NewBlocklist)
	b = denc.AppendSlice(b, o.OldBlocklist, appendAddr)
	b = denc.AppendMap(b, o.ClusterUp, denc.AppendS32, appendAddrVec)
	b = denc.AppendString(b, o.Snapshot)
	b = denc.AppendMap(b, o.UUIDs, denc.AppendS32, denc.AppendUUID)
	b = denc.AppendMap(b, o.XInfo, denc.AppendS32, func(b []byte, x OSDXInfo) []byte { return x.Append(b) })
	b = denc.AppendMap(b, o.HBFrontUp, denc.AppendS32, appendAddrVec)
	b = denc.AppendU64(b, features)
	b = appendFloat(b, o.NearFull)
	b = appendFloat(b, o.Full)
	b = appendFloat(b, o.BackfillFull)
	b = append(b, o.MinCompatClient, o.RequireRelease)
	b = denc.AppendMap(b, o.NodeFlags, denc.AppendS32, denc.AppendU32)
	b = denc.AppendMap(b, o.ClassFlags, denc.AppendS32, denc.AppendU32)
	if v >= 10 {
		b = denc.AppendBool(b, o.ChangeStretch)
		b = o.Stretch.appendRest(b)
		b = denc.AppendBool(b, o.Stretch.Enabled)
	}
	if v >= 11 {
		b = appendAddrMap(b, o.NewRangeBlocklist)
		b = denc.AppendSlice(b, o.OldRangeBlocklist, appendAddr)
	}
	if v >= 12 {
		b = denc.AppendU32(b, o.MutateCrimson)
	}
	return denc.End(b, at)
}

// DecodeIncremental reads an incremental and verifies its checksum. FullMap and
// Crush alias b.
func DecodeIncremental(b []byte) (*Incremental, error) {
	r := denc.NewReader(b)
	inc := &Incremental{}
	s := r.Enter("OSDMap::Incremental", mapVersion)
	if r.Err() == nil && s.V < mapVersion {
		r.Failf("OSDMap::Incremental version %d", s.V)
	}
	inc.decodeClient(r)
	inc.OSDOnly.decode(r)
	end := r.Offset()
	crc := r.U32()
	after := r.Offset()
	inc.FullCRC = r.U32()
	r.Leave(s)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("incremental OSD map: %w", err)
	}
	got := denc.CRC32C(denc.CRC32C(math.MaxUint32, b[:end]), b[after:])
	if got != crc {
		return nil, fmt.Errorf("incremental OSD map of epoch %d: %w: %#x, not %#x", inc.Epoch, ErrCRC, got, crc)
	}
	return inc, nil
}

func (inc *Incremental) decodeClient(r *denc.Reader) {
	s := r.Enter("OSDMap::Incremental client part", clientMax)
	if r.Err() == nil && s.V < clientMin {
		r.Failf("OSDMap::Incremental client part version %d", s.V)
	}
	inc.FSID, inc.Epoch, inc.Modified = r.UUID(), r.U32(), r.Time()
	inc.NewPoolMax, inc.NewFlags = r.S64(), r.S32()
	inc.FullMap, inc.Crush = r.Bytes(), r.Bytes()
	inc.NewMaxOSD = r.S32()
	inc.NewPools = readPools(r)
	inc.NewPoolNames = denc.Map(r, 12, (*denc.Reader).S64, (*denc.Reader).String)
	inc.OldPools = denc.Slice(r, 8, (*denc.Reader).S64)
	inc.NewUp = denc.Map(r, 9, (*denc.Reader).S32, readAddrVec)
	inc.NewState = readS32U32(r)
	inc.NewWeight = readS32U32(r)
	inc.NewPGTemp = readPGMap(r, 4, readOSDs)
	inc.NewPrimaryTemp = readPGMap(r, 4, (*denc.Reader).S32)
	inc.NewAffinity = readS32U32(r)
	inc.NewErasureCodes = denc.Map(r, 8, (*denc.Reader).String, readStringMap)
	inc.OldErasureCodes = denc.Slice(r, 4, (*denc.Reader).String)
	inc.NewUpmap = readPGMap(r, 4, readOSDs)
	inc.OldUpmap = denc.Slice(r, PGSize, readPG)
	inc.NewUpmapItems = readPGMap(r, 4, readUpmapItems)
	inc.OldUpmapItems = denc.Slice(r, PGSize, readPG)
	if s.V >= 6 {
		inc.NewRemoved = denc.Map(r, 12, (*denc.Reader).S64, readIntervals)
		inc.NewPurged = denc.Map(r, 12, (*denc.Reader).S64, readIntervals)
	}
	if s.V >= 8 {
		inc.LastUpChange, inc.LastInChange = r.Time(), r.Time()
	}
	if s.V >= 9 {
		inc.NewUpmapPrimary = readPGMap(r, 4, (*denc.Reader).S32)
		inc.OldUpmapPrimary = denc.Slice(r, PGSize, readPG)
	}
	r.Leave(s)
}

func (o *IncOSDOnly) decode(r *denc.Reader) {
	s := r.Enter("OSDMap::Incremental OSD part", osdMax)
	if r.Err() == nil && s.V < 6 {
		r.Failf("OSDMap::Incremental OSD part version %d", s.V)
	}
	o.HBBackUp = denc.Map(r, 9, (*denc.Reader).S32, readAddrVec)
	o.UpThru = readS32U32(r)
	o.LastClean = denc.Map(r, 12, (*denc.Reader).S32, func(r *denc.Reader) [2]uint32 { return [2]uint32{r.U32(), r.U32()} })
	o.Lost = readS32U32(r)
	o.NewBlocklist = denc.Map(r, 8, readAddr, (*denc.Reader).Time)
	o.OldBlocklist = denc.Slice(r, 8, readAddr)
	o.ClusterUp = denc.Map(r, 9, (*denc.Reader).S32, readAddrVec)
	o.Snapshot = r.String()
	o.UUIDs = denc.Map(r, 20, (*denc.Reader).S32, (*denc.Reader).UUID)
	o.XInfo = denc.Map(r, 10, (*denc.Reader).S32, func(r *denc.Reader) (x OSDXInfo) { x.Decode(r); return x })
	o.HBFrontUp = denc.Map(r, 9, (*denc.Reader).S32, readAddrVec)
	o.EncodeFeatures = r.U64()
	o.NearFull, o.Full, o.BackfillFull = readFloat(r), readFloat(r), readFloat(r)
	o.MinCompatClient, o.RequireRelease = r.U8(), r.U8()
	if s.V >= 8 {
		o.NodeFlags = readS32U32(r)
	}
	if s.V >= 9 {
		o.ClassFlags = readS32U32(r)
	}
	if s.V >= 10 {
		o.ChangeStretch = r.Bool()
		o.Stretch.decodeRest(r)
		o.Stretch.Enabled = r.Bool()
	}
	if s.V >= 11 {
		o.NewRangeBlocklist = denc.Map(r, 8, readAddr, (*denc.Reader).Time)
		o.OldRangeBlocklist = denc.Slice(r, 8, readAddr)
	}
	if s.V >= 12 {
		o.MutateCrimson = r.U32()
	}
	r.Leave(s)
}

func readS32U32(r *denc.Reader) map[int32]uint32 {
	return denc.Map(r, 8, (*denc.Reader).S32, (*denc.Reader).U32)
}

func appendPG(b []byte, pg PG) []byte { return pg.Append(b) }

func appendAddr(b []byte, a entity.Addr) []byte { return a.Append(b) }

// Sort puts the sets of inc into the order in which Ceph writes them. Append
// does not; Decode finds them sorted.
func (inc *Incremental) Sort() {
	slices.Sort(inc.OldPools)
	slices.Sort(inc.OldErasureCodes)
	slices.SortFunc(inc.OldUpmap, PG.Compare)
	slices.SortFunc(inc.OldUpmapItems, PG.Compare)
	slices.SortFunc(inc.OldUpmapPrimary, PG.Compare)
	o := &inc.OSDOnly
	o.OldBlocklist = sortedAddrs(slices.Values(o.OldBlocklist))
	o.OldRangeBlocklist = sortedAddrs(slices.Values(o.OldRangeBlocklist))
}

// merged returns a copy of m with the entries of add, less those for which gone
// is true. When nothing changes it returns m itself.
func merged[K comparable, V any](m, add map[K]V, old []K, gone func(V) bool) map[K]V {
	if len(add) == 0 && len(old) == 0 {
		return m
	}
	out := maps.Clone(m)
	if out == nil {
		out = make(map[K]V, len(add))
	}
	for k, v := range add {
		if gone != nil && gone(v) {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	for _, k := range old {
		delete(out, k)
	}
	return out
}
