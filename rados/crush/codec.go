package crush

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

const magic = 0x00010000

// tailParts says how many of the optional groups at the end an encoded map
// had, so that it is written again as it was. Zero means all, as in a new map.
type tailParts uint8

const (
	tailAll tailParts = iota
	tailNone
	tailTries       // the three numbers of tries
	tailDescendOnce // chooseleaf_descend_once
	tailVaryR
	tailStrawCalc
	tailAlgs
	tailStable
	tailClasses
	tailChooseArgs
)

// Bounds on what a map may hold, far above any real one.
const (
	maxBuckets = 1 << 20
	maxRules   = 1 << 8
)

// Append appends the map as releases since Luminous write it. The values for
// multi-step-retry rules go in only if Tunables.HasMSR.
func (m *Map) Append(b []byte) []byte {
	b = denc.AppendU32(b, magic)
	b = denc.AppendS32(b, int32(len(m.Buckets)))
	b = denc.AppendU32(b, uint32(len(m.Rules)))
	b = denc.AppendS32(b, m.MaxDevices)
	for _, k := range m.Buckets {
		if k == nil {
			b = denc.AppendU32(b, 0)
			continue
		}
		b = k.append(denc.AppendU32(b, uint32(k.Alg)))
	}
	for _, r := range m.Rules {
		if r == nil {
			b = denc.AppendU32(b, 0)
			continue
		}
		b = r.append(denc.AppendU32(b, 1))
	}
	b = appendNames(b, m.TypeNames)
	b = appendNames(b, m.ItemNames)
	b = appendNames(b, m.RuleNames)
	return m.appendTail(b)
}

func (m *Map) appendTail(b []byte) []byte {
	t := &m.Tunables
	has := func(p tailParts) bool { return m.tail == tailAll || m.tail >= p }
	if has(tailTries) {
		b = denc.AppendU32(b, t.ChooseLocalTries)
		b = denc.AppendU32(b, t.ChooseLocalFallbackTries)
		b = denc.AppendU32(b, t.ChooseTotalTries)
	}
	if has(tailDescendOnce) {
		b = denc.AppendU32(b, t.ChooseLeafDescendOnce)
	}
	if has(tailVaryR) {
		b = denc.AppendU8(b, t.ChooseLeafVaryR)
	}
	if has(tailStrawCalc) {
		b = denc.AppendU8(b, t.StrawCalcVersion)
	}
	if has(tailAlgs) {
		b = denc.AppendU32(b, t.AllowedBucketAlgs)
	}
	if has(tailStable) {
		b = denc.AppendU8(b, t.ChooseLeafStable)
	}
	if has(tailClasses) {
		b = denc.AppendMap(b, m.Classes, denc.AppendS32, denc.AppendS32)
		b = appendNames(b, m.ClassNames)
		b = denc.AppendMap(b, m.ClassBuckets, denc.AppendS32, func(b []byte, c map[int32]int32) []byte {
			return denc.AppendMap(b, c, denc.AppendS32, denc.AppendS32)
		})
	}
	if has(tailChooseArgs) {
		b = denc.AppendMap(b, m.ChooseArgs, denc.AppendS64, appendChooseArgs)
	}
	if t.HasMSR {
		b = denc.AppendU32(b, t.MSRDescents)
		b = denc.AppendU32(b, t.MSRCollisionTries)
	}
	return b
}

func appendNames(b []byte, m map[int32]string) []byte {
	return denc.AppendMap(b, m, denc.AppendS32, denc.AppendString)
}

func appendU32s(b []byte, s []uint32) []byte {
	for _, v := range s {
		b = denc.AppendU32(b, v)
	}
	return b
}

func appendChooseArgs(b []byte, args ChooseArgs) []byte {
	return denc.AppendMap(b, args, denc.AppendU32, func(b []byte, a *ChooseArg) []byte {
		b = denc.AppendSlice(b, a.WeightSets, func(b []byte, w []uint32) []byte {
			return denc.AppendSlice(b, w, denc.AppendU32)
		})
		return denc.AppendSlice(b, a.IDs, denc.AppendS32)
	})
}

func (k *Bucket) append(b []byte) []byte {
	b = denc.AppendS32(b, k.ID)
	b = denc.AppendU16(b, k.Type)
	b = append(b, k.Alg, k.Hash)
	b = denc.AppendU32(b, k.Weight)
	b = denc.AppendSlice(b, k.Items, denc.AppendS32)
	switch k.Alg {
	case AlgUniform, AlgStraw2:
		b = appendU32s(b, k.Weights)
	case AlgList:
		b = appendPairs(b, k.Weights, k.Sums)
	case AlgStraw:
		b = appendPairs(b, k.Weights, k.Straws)
	case AlgTree:
		b = appendU32s(denc.AppendU8(b, uint8(len(k.Nodes))), k.Nodes)
	}
	return b
}

func appendPairs(b []byte, s, t []uint32) []byte {
	for i := range s {
		b = denc.AppendU32(denc.AppendU32(b, s[i]), t[i])
	}
	return b
}

func (r *Rule) append(b []byte) []byte {
	b = denc.AppendU32(b, uint32(len(r.Steps)))
	b = append(b, r.Ruleset, r.Type, r.MinSize, r.MaxSize)
	for _, s := range r.Steps {
		b = denc.AppendU32(b, s.Op)
		b = denc.AppendS32(b, s.Arg1)
		b = denc.AppendS32(b, s.Arg2)
	}
	return b
}

// Decode reads a map, with any of the optional tails. It refuses maps that
// could not be mapped by: tables that do not fit, cycles.
func (m *Map) Decode(r *denc.Reader) {
	*m = Map{}
	if v := r.U32(); r.Err() == nil && v != magic {
		r.Failf("CRUSH magic %#x", v)
	}
	nb, nr := r.S32(), r.U32()
	m.MaxDevices = r.S32()
	if r.Err() == nil && (nb < 0 || nb > maxBuckets || int(nb) > r.Len()/4 || nr > maxRules || int(nr) > r.Len()/4) {
		r.Failf("%d buckets, %d rules", nb, nr)
	}
	if r.Err() != nil {
		return
	}
	m.Buckets = make([]*Bucket, nb)
	for i := range m.Buckets {
		if alg := r.U32(); alg != 0 {
			m.Buckets[i] = readBucket(r)
		}
	}
	m.Rules = make([]*Rule, nr)
	for i := range m.Rules {
		if r.U32() != 0 {
			m.Rules[i] = readRule(r)
		}
	}
	m.TypeNames = readNames(r)
	m.ItemNames = readNames(r)
	m.RuleNames = readNames(r)
	m.decodeTail(r)
	if r.Err() == nil {
		if err := m.check(); err != nil {
			r.Fail(fmt.Errorf("%w: CRUSH map: %w", denc.ErrValue, err))
		}
	}
}

// decodeTail reads the optional groups; each may be the last.
func (m *Map) decodeTail(r *denc.Reader) {
	m.Tunables = LegacyTunables()
	t := &m.Tunables
	groups := []struct {
		part tailParts
		read func()
	}{
		{tailTries, func() {
			t.ChooseLocalTries, t.ChooseLocalFallbackTries, t.ChooseTotalTries = r.U32(), r.U32(), r.U32()
		}},
		{tailDescendOnce, func() { t.ChooseLeafDescendOnce = r.U32() }},
		{tailVaryR, func() { t.ChooseLeafVaryR = r.U8() }},
		{tailStrawCalc, func() { t.StrawCalcVersion = r.U8() }},
		{tailAlgs, func() { t.AllowedBucketAlgs = r.U32() }},
		{tailStable, func() { t.ChooseLeafStable = r.U8() }},
		{tailClasses, func() {
			m.Classes = denc.Map(r, 8, (*denc.Reader).S32, (*denc.Reader).S32)
			m.ClassNames = readNames(r)
			m.ClassBuckets = denc.Map(r, 8, (*denc.Reader).S32, func(r *denc.Reader) map[int32]int32 {
				return denc.Map(r, 8, (*denc.Reader).S32, (*denc.Reader).S32)
			})
		}},
		{tailChooseArgs, func() { m.ChooseArgs = denc.Map(r, 12, (*denc.Reader).S64, readChooseArgs) }},
	}
	m.tail = tailNone
	for _, g := range groups {
		if r.Len() == 0 {
			return
		}
		g.read()
		m.tail = g.part
	}
	if r.Len() > 0 {
		t.HasMSR = true
		t.MSRDescents, t.MSRCollisionTries = r.U32(), r.U32()
	}
}

func readChooseArgs(r *denc.Reader) ChooseArgs {
	return denc.Map(r, 12, (*denc.Reader).U32, func(r *denc.Reader) *ChooseArg {
		return &ChooseArg{
			WeightSets: denc.Slice(r, 4, func(r *denc.Reader) []uint32 { return denc.Slice(r, 4, (*denc.Reader).U32) }),
			IDs:        denc.Slice(r, 4, (*denc.Reader).S32),
		}
	})
}

// readNames reads a map of names. An old bug wrote keys of 64 bits: a length of
// zero is then the key's upper half and the length follows. So there is no way to
// write an empty name: it is dropped.
func readNames(r *denc.Reader) map[int32]string {
	names := denc.Map(r, 8, (*denc.Reader).S32, func(r *denc.Reader) string {
		n := r.U32()
		if n == 0 {
			n = r.U32()
		}
		if uint64(n) > uint64(r.Len()) {
			r.Fail(denc.ErrShort)
			return ""
		}
		return string(r.Raw(int(n)))
	})
	maps.DeleteFunc(names, func(_ int32, name string) bool { return name == "" })
	return names
}

func readU32s(r *denc.Reader, n int) []uint32 {
	if n > r.Len()/4 {
		r.Fail(denc.ErrShort)
		return nil
	}
	s := make([]uint32, n)
	for i := range s {
		s[i] = r.U32()
	}
	return s
}

func readPairs(r *denc.Reader, n int) (s, t []uint32) {
	all := readU32s(r, 2*n)
	for p := range slices.Chunk(all, 2) {
		s, t = append(s, p[0]), append(t, p[1])
	}
	return s, t
}

func readBucket(r *denc.Reader) *Bucket {
	k := &Bucket{ID: r.S32(), Type: r.U16(), Alg: r.U8(), Hash: r.U8(), Weight: r.U32()}
	k.Items = denc.Slice(r, 4, (*denc.Reader).S32)
	switch n := len(k.Items); k.Alg {
	case AlgUniform:
		k.Weights = readU32s(r, 1)
	case AlgStraw2:
		k.Weights = readU32s(r, n)
	case AlgList:
		k.Weights, k.Sums = readPairs(r, n)
	case AlgStraw:
		k.Weights, k.Straws = readPairs(r, n)
	case AlgTree:
		k.Nodes = readU32s(r, int(r.U8()))
	default:
		r.Failf("bucket %d: unknown algorithm %d", k.ID, k.Alg)
	}
	if r.Err() == nil && k.Hash != 0 {
		r.Failf("bucket %d: unknown hash %d", k.ID, k.Hash)
	}
	return k
}

func readRule(r *denc.Reader) *Rule {
	n := r.U32()
	ru := &Rule{Ruleset: r.U8(), Type: r.U8(), MinSize: r.U8(), MaxSize: r.U8()}
	if uint64(n)*12 > uint64(r.Len()) {
		r.Fail(denc.ErrShort)
		return ru
	}
	for range n {
		ru.Steps = append(ru.Steps, Step{Op: r.U32(), Arg1: r.S32(), Arg2: r.S32()})
	}
	return ru
}
