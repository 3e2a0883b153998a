package rados

import (
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

func (op *Op) xattr(code wire.OpCode, out result, name string, value []byte, arg wire.XattrArg) {
	s := op.add(code, out)
	if len(name) > 0 {
		s.Data = msgr2.NewData([]byte(name))
	}
	if len(value) > 0 {
		s.Data.Append(value)
	}
	arg.NameLen, arg.ValueLen = uint32(len(name)), uint32(len(value))
	s.Op.SetXattr(arg)
}

// GetXattr reads an attribute; ErrNoData when it is missing.
func (op *Op) GetXattr(name string) *Bytes {
	out := &Bytes{}
	op.xattr(wire.OpGetXattr, out, name, nil, wire.XattrArg{})
	return out
}

// SetXattr sets an attribute.
func (op *Op) SetXattr(name string, value []byte) {
	op.xattr(wire.OpSetXattr, nil, name, value, wire.XattrArg{})
}

// RemoveXattr removes an attribute.
func (op *Op) RemoveXattr(name string) {
	op.xattr(wire.OpRmXattr, nil, name, nil, wire.XattrArg{})
}

// CompareXattr fails the vector with ErrCanceled when "value cmp stored" is
// false, bytes compared.
func (op *Op) CompareXattr(name string, cmp wire.CmpOp, value []byte) {
	op.xattr(wire.OpCmpXattr, nil, name, value, wire.XattrArg{Op: cmp, Mode: wire.CmpModeString})
}

// CompareXattrU64 is CompareXattr of a number that is stored as decimal text.
func (op *Op) CompareXattrU64(name string, cmp wire.CmpOp, value uint64) {
	op.xattr(wire.OpCmpXattr, nil, name, denc.AppendU64(nil, value), wire.XattrArg{Op: cmp, Mode: wire.CmpModeU64})
}

// GetXattrs reads all attributes.
func (op *Op) GetXattrs() *Map {
	out := &Map{}
	op.add(wire.OpGetXattrs, out)
	return out
}

// OmapGet reads up to max pairs whose keys come after the given one and start
// with prefix. The OSD may return fewer and then sets More.
func (op *Op) OmapGet(after, prefix string, max uint64) *OmapPage {
	out := &OmapPage{}
	in := wire.OmapGetValsInput{After: after, Max: max, Prefix: prefix}
	op.addBytes(wire.OpOmapGetVals, out, in.Append(nil))
	return out
}

// OmapGetKeys reads up to max keys after the given one.
func (op *Op) OmapGetKeys(after string, max uint64) *OmapKeys {
	out := &OmapKeys{}
	in := wire.OmapGetKeysInput{After: after, Max: max}
	op.addBytes(wire.OpOmapGetKeys, out, in.Append(nil))
	return out
}

// OmapGetByKeys reads the pairs of the given keys; missing ones are left out.
func (op *Op) OmapGetByKeys(keys ...string) *Map {
	out := &Map{}
	op.addBytes(wire.OpOmapGetByKeys, out, wire.AppendStringSet(nil, keys))
	return out
}

// OmapSet sets pairs.
func (op *Op) OmapSet(pairs map[string][]byte) {
	op.addBytes(wire.OpOmapSetVals, nil, wire.AppendOmap(nil, pairs))
}

// OmapRemove removes keys; missing ones are no error.
func (op *Op) OmapRemove(keys ...string) {
	op.addBytes(wire.OpOmapRmKeys, nil, wire.AppendStringSet(nil, keys))
}

// OmapClear removes all pairs and the header.
func (op *Op) OmapClear() { op.add(wire.OpOmapClear, nil) }

// OmapRemoveRange removes the keys from first up to but without end.
func (op *Op) OmapRemoveRange(first, end string) {
	in := wire.OmapRmKeyRangeInput{First: first, End: end}
	op.addBytes(wire.OpOmapRmKeyRange, nil, in.Append(nil))
}

// OmapCompare fails the vector with ErrCanceled when one of the assertions is
// false: "given cmp stored"; a missing key counts as an empty value.
func (op *Op) OmapCompare(assertions map[string]OmapAssertion) {
	op.addBytes(wire.OpOmapCmp, nil, wire.AppendOmapAssertions(nil, assertions))
}

// OmapAssertion is a value and how to compare it.
type OmapAssertion = wire.OmapAssertion

// OmapHeader reads the omap's header.
func (op *Op) OmapHeader() *Bytes {
	out := &Bytes{}
	op.add(wire.OpOmapGetHeader, out)
	return out
}

// SetOmapHeader replaces the omap's header.
func (op *Op) SetOmapHeader(value []byte) { op.addBytes(wire.OpOmapSetHeader, nil, value) }
