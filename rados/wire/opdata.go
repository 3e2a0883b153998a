package wire

import (
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// AppendOmap appends map<string, bufferlist>: omap pairs and attributes.
func AppendOmap(b []byte, m map[string][]byte) []byte {
	return denc.AppendMap(b, m, denc.AppendString, denc.AppendBytes)
}

// DecodeOmap reads what AppendOmap wrote. The values alias the input.
func DecodeOmap(r *denc.Reader) map[string][]byte {
	return denc.Map(r, 8, readString, (*denc.Reader).Bytes)
}

// AppendStringSet appends set<string>: keys, sorted and without repetition.
func AppendStringSet(b []byte, keys []string) []byte {
	if !slices.IsSorted(keys) {
		keys = slices.Sorted(slices.Values(keys))
	}
	return denc.AppendSlice(b, slices.Compact(slices.Clone(keys)), denc.AppendString)
}

// DecodeStringSet reads a set<string>.
func DecodeStringSet(r *denc.Reader) []string { return denc.Slice(r, 4, readString) }

// OmapGetValsInput is the input of omap-get-vals.
type OmapGetValsInput struct {
	After  string // the first key wanted comes after this one
	Max    uint64
	Prefix string // of the keys wanted
}

// Append appends i.
func (i OmapGetValsInput) Append(b []byte) []byte {
	b = denc.AppendString(b, i.After)
	b = denc.AppendU64(b, i.Max)
	return denc.AppendString(b, i.Prefix)
}

// Decode reads what Append wrote.
func (i *OmapGetValsInput) Decode(r *denc.Reader) {
	*i = OmapGetValsInput{After: r.String(), Max: r.U64(), Prefix: r.String()}
}

// OmapGetValsOutput is the output of omap-get-vals.
type OmapGetValsOutput struct {
	Keys   []string // ascending
	Values map[string][]byte
	More   bool
}

// Append appends o; Keys is not looked at.
func (o OmapGetValsOutput) Append(b []byte) []byte {
	return denc.AppendBool(AppendOmap(b, o.Values), o.More)
}

// Decode reads what Append wrote. The values alias the input.
func (o *OmapGetValsOutput) Decode(r *denc.Reader) {
	o.Values = DecodeOmap(r)
	o.More = r.Bool()
	o.Keys = slices.Sorted(maps.Keys(o.Values))
}

// OmapGetKeysInput is the input of omap-get-keys.
type OmapGetKeysInput struct {
	After string
	Max   uint64
}

// Append appends i.
func (i OmapGetKeysInput) Append(b []byte) []byte {
	return denc.AppendU64(denc.AppendString(b, i.After), i.Max)
}

// Decode reads what Append wrote.
func (i *OmapGetKeysInput) Decode(r *denc.Reader) {
	*i = OmapGetKeysInput{After: r.String(), Max: r.U64()}
}

// OmapGetKeysOutput is the output of omap-get-keys.
type OmapGetKeysOutput struct {
	Keys []string // ascending
	More bool
}

// Append appends o.
func (o OmapGetKeysOutput) Append(b []byte) []byte {
	return denc.AppendBool(AppendStringSet(b, o.Keys), o.More)
}

// Decode reads what Append wrote.
func (o *OmapGetKeysOutput) Decode(r *denc.Reader) {
	o.Keys = DecodeStringSet(r)
	o.More = r.Bool()
}

// OmapRmKeyRangeInput is the input of omap-rm-key-range: First is removed, End
// is not.
type OmapRmKeyRangeInput struct{ First, End string }

// Append appends i.
func (i OmapRmKeyRangeInput) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendString(b, i.First), i.End)
}

// Decode reads what Append wrote.
func (i *OmapRmKeyRangeInput) Decode(r *denc.Reader) {
	*i = OmapRmKeyRangeInput{First: r.String(), End: r.String()}
}

// OmapAssertion is one condition of omap-cmp.
type OmapAssertion struct {
	Value []byte
	Op    CmpOp
}

// AppendOmapAssertions appends the input of omap-cmp.
func AppendOmapAssertions(b []byte, m map[string]OmapAssertion) []byte {
	return denc.AppendMap(b, m, denc.AppendString, func(b []byte, a OmapAssertion) []byte {
		return denc.AppendS32(denc.AppendBytes(b, a.Value), int32(a.Op))
	})
}

// DecodeOmapAssertions reads the input of omap-cmp.
func DecodeOmapAssertions(r *denc.Reader) map[string]OmapAssertion {
	return denc.Map(r, 12, readString, func(r *denc.Reader) OmapAssertion {
		return OmapAssertion{Value: r.Bytes(), Op: CmpOp(r.S32())}
	})
}

// StatOutput is the output of stat.
type StatOutput struct {
	Size    uint64 // bytes
	ModTime denc.Time
}

// Append appends o.
func (o StatOutput) Append(b []byte) []byte {
	return denc.AppendTime(denc.AppendU64(b, o.Size), o.ModTime)
}

// Decode reads what Append wrote.
func (o *StatOutput) Decode(r *denc.Reader) {
	*o = StatOutput{Size: r.U64(), ModTime: r.Time()}
}

// Range is an offset and a length in bytes.
type Range struct{ Off, Len uint64 }

func appendRange(b []byte, e Range) []byte { return denc.AppendU64(denc.AppendU64(b, e.Off), e.Len) }

func readRange(r *denc.Reader) Range { return Range{Off: r.U64(), Len: r.U64()} }

// SparseReadOutput is the output of sparse-read: which ranges hold data, then
// their bytes.
type SparseReadOutput struct {
	Extents []Range // ascending
	Data    msgr2.Data
}

// Encode returns o as the payload of a reply; the data is not copied.
func (o SparseReadOutput) Encode() msgr2.Data {
	head := denc.AppendSlice(make([]byte, 0, 8+16*len(o.Extents)), o.Extents, appendRange)
	head = denc.AppendU32(head, uint32(o.Data.Len()))
	d := msgr2.NewData(head)
	d.AppendData(o.Data)
	return d
}

// Split reads a reply's payload; Data aliases it.
func (o *SparseReadOutput) Split(d msgr2.Data) error {
	r := denc.NewReader(d.Bytes())
	o.Extents = denc.Slice(r, 16, readRange)
	n := r.U32()
	if r.Err() == nil && uint64(n) > uint64(r.Len()) {
		r.Fail(denc.ErrShort)
	}
	var total uint64
	for _, e := range o.Extents {
		if e.Len > uint64(n) || total+e.Len > uint64(n) {
			r.Failf("sparse extents hold more than %d bytes", n)
			break
		}
		total += e.Len
	}
	if r.Err() == nil && total != uint64(n) {
		r.Failf("sparse extents hold %d bytes, data has %d", total, n)
	}
	if err := r.Err(); err != nil {
		return err
	}
	o.Data = d.Slice(r.Offset(), int(n))
	return nil
}

// AppendChecksums appends the output of checksum.
func AppendChecksums(b []byte, t ChecksumType, v []uint64) []byte {
	if t.Size() == 8 {
		return denc.AppendSlice(b, v, denc.AppendU64)
	}
	return denc.AppendSlice(b, v, func(b []byte, v uint64) []byte { return denc.AppendU32(b, uint32(v)) })
}

// DecodeChecksums reads the output of checksum.
func DecodeChecksums(r *denc.Reader, t ChecksumType) []uint64 {
	if t.Size() == 8 {
		return denc.Slice(r, 8, (*denc.Reader).U64)
	}
	return denc.Slice(r, 4, func(r *denc.Reader) uint64 { return uint64(r.U32()) })
}

// CopyFromInput is the input of copy-from, and of copy-from2 when Truncate is
// set.
type CopyFromInput struct {
	Object  string
	Locator ObjectLocator
	// Truncate says that the truncation fields follow: copy-from2 only.
	Truncate     bool
	TruncateSeq  uint32
	TruncateSize uint64
}

// Append appends i.
func (i CopyFromInput) Append(b []byte) []byte {
	b = denc.AppendString(b, i.Object)
	b = i.Locator.Append(b)
	if i.Truncate {
		b = denc.AppendU64(denc.AppendU32(b, i.TruncateSeq), i.TruncateSize)
	}
	return b
}

// Decode reads either form.
func (i *CopyFromInput) Decode(r *denc.Reader) {
	*i = CopyFromInput{Object: r.String()}
	i.Locator.Decode(r)
	if r.Len() > 0 {
		i.Truncate, i.TruncateSeq, i.TruncateSize = true, r.U32(), r.U64()
	}
}
