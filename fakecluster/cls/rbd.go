package cls

import (
	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
)

// Feature bits of images.
const (
	featLayering   uint64 = 1 << 0
	featStriping   uint64 = 1 << 1
	featLock       uint64 = 1 << 2
	featObjectMap  uint64 = 1 << 3
	featFastDiff   uint64 = 1 << 4
	featDeep       uint64 = 1 << 5
	featJournal    uint64 = 1 << 6
	featDataPool   uint64 = 1 << 7
	featOperations uint64 = 1 << 8
	featMigrating  uint64 = 1 << 9
	featNonPrimary uint64 = 1 << 10
	featDirtyCache uint64 = 1 << 11
	featAll               = 1<<12 - 1

	// incompatible features keep old clients from reading an image, rw ones
	// from writing it.
	featIncompatible   = featLayering | featStriping | featDataPool
	featRWIncompatible = featIncompatible | featLock | featObjectMap | featFastDiff | featDeep | featJournal |
		featOperations | featMigrating | featNonPrimary
	featMutable     = featLock | featObjectMap | featFastDiff | featJournal | featNonPrimary | featDirtyCache
	featDisableOnly = featDeep
	// internal features follow from others.
	featInternal = featOperations | featMigrating

	opFeatureCloneParent uint64 = 1
	opFeatureKnown       uint64 = 1<<5 - 1
)

const (
	noSnap   = 1<<64 - 2
	noLimit  = 1<<64 - 1
	maxOrder = 64
)

// rbdClass is the class rbd.
func rbdClass() class {
	c := class{
		"create": wr(rbdCreate), "get_features": rd(rbdGetFeatures), "set_features": wr(rbdSetFeatures),
		"get_size": rd(rbdGetSize), "set_size": wr(rbdSetSize),
		"get_object_prefix": rd(func(o *pg.Object, _ *denc.Reader) ([]byte, error) { return get(o, "object_prefix") }),
		"get_data_pool":     rd(rbdGetDataPool), "get_flags": rd(rbdGetFlags), "set_flags": wr(rbdSetFlags),
		"op_features_get": rd(rbdGetOpFeatures), "op_features_set": wr(rbdSetOpFeatures),
		"get_stripe_unit_count": rd(rbdGetStriping), "set_stripe_unit_count": wr(rbdSetStriping),
		"get_create_timestamp": rd(getTime("create_timestamp")), "get_access_timestamp": rd(getTime("access_timestamp")),
		"get_modify_timestamp": rd(getTime("modify_timestamp")), "set_access_timestamp": wr(setTime("access_timestamp")),
		"set_modify_timestamp": wr(setTime("modify_timestamp")),
		"get_all_features":     rd(func(*pg.Object, *denc.Reader) ([]byte, error) { return denc.AppendU64(nil, featAll), nil }),
		"get_id":               rd(rbdGetID), "set_id": wr(rbdSetID),
		"metadata_set": wr(metadataSet), "metadata_get": rd(metadataGet), "metadata_list": rd(metadataList), "metadata_remove": wr(metadataRemove),
		"assert_snapc_seq": rd(assertSnapSeq), "copyup": wr(copyup), "sparse_copyup": wr(sparseCopyup), "sparsify": wr(sparsify),
		"migration_get":    rd(func(o *pg.Object, _ *denc.Reader) ([]byte, error) { return get(o, "migration") }),
		"migration_set":    wr(migrationSet),
		"migration_remove": wr(func(o *pg.Object, _ *denc.Reader) ([]byte, error) { o.RemoveOmap("migration"); return nil, nil }),
	}
	for _, more := range []class{snapMethods(), parentMethods(), directoryMethods(), objectMapMethods(), mirrorMethods(), groupMethods()} {
		for n, m := range more {
			c[n] = m
		}
	}
	return c
}

func rbdCreate(o *pg.Object, r *denc.Reader) ([]byte, error) {
	size, order, features, prefix := r.U64(), r.U8(), r.U64(), r.String()
	dataPool := int64(-1)
	if r.Err() == nil && r.Len() > 0 {
		dataPool = r.S64()
	}
	if r.Err() != nil || prefix == "" {
		return nil, errno.ErrInvalid
	}
	if features&^featAll != 0 {
		return nil, errno.ErrNotImplemented
	}
	if features&featInternal != 0 {
		return nil, errno.ErrInvalid
	}
	if has(o, "size") {
		return nil, errno.ErrExists
	}
	if (features&featDataPool != 0) != (dataPool != -1) {
		return nil, errno.ErrInvalid
	}
	setU64(o, "size", size)
	o.SetOmap("order", []byte{order})
	setU64(o, "features", features)
	o.SetOmap("object_prefix", denc.AppendString(nil, prefix))
	setU64(o, "snap_seq", 0)
	for _, k := range []string{"create_timestamp", "access_timestamp", "modify_timestamp"} {
		o.SetOmap(k, now(o))
	}
	if dataPool != -1 {
		o.SetOmap("data_pool_id", denc.AppendS64(nil, dataPool))
	}
	return nil, nil
}

func rbdGetFeatures(o *pg.Object, r *denc.Reader) ([]byte, error) {
	snap := r.U64()
	readOnly := false
	if r.Err() == nil && r.Len() > 0 {
		readOnly = r.Bool()
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if snap != noSnap && !has(o, hexKey("snapshot_", snap)) {
		return nil, errno.ErrNotFound
	}
	f, err := getU64(o, "features")
	if err != nil {
		return nil, err
	}
	mask := featRWIncompatible
	if readOnly {
		mask = featIncompatible
	}
	return denc.AppendU64(denc.AppendU64(nil, f), f&mask), nil
}

func rbdSetFeatures(o *pg.Object, r *denc.Reader) ([]byte, error) {
	features, mask := r.U64(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	old, err := getU64(o, "features")
	if err != nil {
		return nil, err
	}
	if mask&featInternal != 0 || features&mask&^old&^featMutable != 0 || old&mask&^features&^(featMutable|featDisableOnly) != 0 {
		return nil, errno.ErrInvalid
	}
	setU64(o, "features", old&^mask|features&mask)
	return nil, nil
}

func rbdGetSize(o *pg.Object, r *denc.Reader) ([]byte, error) {
	snap := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	order, err := get(o, "order")
	if err != nil {
		return nil, err
	}
	if snap == noSnap {
		size, err := getU64(o, "size")
		return denc.AppendU64(append([]byte(nil), order[0]), size), err
	}
	s, err := readSnap(o, snap)
	if err != nil {
		return nil, err
	}
	return denc.AppendU64([]byte{order[0]}, s.size), nil
}

func rbdSetSize(o *pg.Object, r *denc.Reader) ([]byte, error) {
	size := r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	old, err := getU64(o, "size")
	if err != nil {
		return nil, err
	}
	setU64(o, "size", size)
	if size < old {
		p, err := readParent(o)
		if err == nil && p.overlap != nil && *p.overlap > size {
			p.overlap = &size
			p.write(o)
		}
	}
	return nil, nil
}

func rbdGetDataPool(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	v, err := get(o, "data_pool_id")
	if err != nil {
		return denc.AppendS64(nil, -1), nil
	}
	return v, nil
}

func rbdGetFlags(o *pg.Object, r *denc.Reader) ([]byte, error) {
	snap := uint64(noSnap)
	if r.Len() > 0 {
		snap = r.U64()
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if snap != noSnap {
		s, err := readSnap(o, snap)
		if err != nil {
			return nil, err
		}
		return denc.AppendU64(nil, s.flags), nil
	}
	f, _ := getU64(o, "flags")
	return denc.AppendU64(nil, f), nil
}

func rbdSetFlags(o *pg.Object, r *denc.Reader) ([]byte, error) {
	flags, mask := r.U64(), r.U64()
	snap := uint64(noSnap)
	if r.Err() == nil && r.Len() > 0 {
		snap = r.U64()
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if snap == noSnap {
		old, _ := getU64(o, "flags")
		setU64(o, "flags", old&^mask|flags&mask)
		return nil, nil
	}
	s, err := readSnap(o, snap)
	if err != nil {
		return nil, err
	}
	s.flags = s.flags&^mask | flags&mask
	s.write(o)
	return nil, nil
}

func rbdGetOpFeatures(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	if !has(o, "features") {
		return nil, errno.ErrNotFound
	}
	f, _ := getU64(o, "op_features")
	return denc.AppendU64(nil, f), nil
}

func rbdSetOpFeatures(o *pg.Object, r *denc.Reader) ([]byte, error) {
	f, mask := r.U64(), r.U64()
	if r.Err() != nil || mask&^opFeatureKnown != 0 {
		return nil, errno.ErrInvalid
	}
	return nil, setOpFeatures(o, f, mask)
}

// setOpFeatures changes operation features and the feature bit that says that
// there are some.
func setOpFeatures(o *pg.Object, f, mask uint64) error {
	features, err := getU64(o, "features")
	if err != nil {
		return err
	}
	old, _ := getU64(o, "op_features")
	fresh := old&^mask | f&mask
	if fresh == old {
		return nil
	}
	if fresh == 0 {
		features &^= featOperations
		o.RemoveOmap("op_features")
	} else {
		features |= featOperations
		setU64(o, "op_features", fresh)
	}
	setU64(o, "features", features)
	return nil
}

func needFeature(o *pg.Object, f uint64) error {
	have, err := getU64(o, "features")
	if err == nil && have&f != f {
		err = errNotExec
	}
	return err
}

func rbdGetStriping(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	if err := needFeature(o, featStriping); err != nil {
		return nil, err
	}
	unit, err := getU64(o, "stripe_unit")
	if err != nil {
		order, err := get(o, "order")
		if err != nil {
			return nil, err
		}
		return denc.AppendU64(denc.AppendU64(nil, 1<<order[0]), 1), nil
	}
	count, err := getU64(o, "stripe_count")
	return denc.AppendU64(denc.AppendU64(nil, unit), count), err
}

func rbdSetStriping(o *pg.Object, r *denc.Reader) ([]byte, error) {
	unit, count := r.U64(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if err := needFeature(o, featStriping); err != nil {
		return nil, err
	}
	order, err := get(o, "order")
	if err != nil {
		return nil, err
	}
	if unit == 0 || count == 0 || order[0] >= maxOrder || (uint64(1)<<order[0])%unit != 0 || unit > 1<<order[0] {
		return nil, errno.ErrInvalid
	}
	setU64(o, "stripe_unit", unit)
	setU64(o, "stripe_count", count)
	return nil, nil
}

func getTime(key string) func(*pg.Object, *denc.Reader) ([]byte, error) {
	return func(o *pg.Object, _ *denc.Reader) ([]byte, error) {
		if v, ok := o.Omap(key); ok {
			return v, nil
		}
		return denc.AppendTime(nil, denc.Time{}), nil
	}
}

func setTime(key string) func(*pg.Object, *denc.Reader) ([]byte, error) {
	return func(o *pg.Object, _ *denc.Reader) ([]byte, error) {
		o.SetOmap(key, now(o))
		return nil, nil
	}
}

func validID(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return id != ""
}

func rbdGetID(o *pg.Object, _ *denc.Reader) ([]byte, error) {
	p := o.Read(0, 0)
	if len(p) == 0 {
		return nil, errno.ErrNotFound
	}
	r := denc.NewReader(p)
	id := r.String()
	if r.Err() != nil {
		return nil, errno.ErrIO
	}
	return denc.AppendString(nil, id), nil
}

func rbdSetID(o *pg.Object, r *denc.Reader) ([]byte, error) {
	id := r.String()
	switch {
	case !o.Exists():
		return nil, errno.ErrNotFound
	case r.Err() != nil || !validID(id):
		return nil, errno.ErrInvalid
	}
	if size, _ := o.Stat(); size > 0 {
		return nil, errno.ErrExists
	}
	o.Write(0, denc.AppendString(nil, id))
	return nil, nil
}

func metadataSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	m := denc.Map(r, 8, str, (*denc.Reader).Bytes)
	if r.Err() != nil {
		return nil, r.Err()
	}
	for k, v := range m {
		o.SetOmap("metadata_"+k, v)
	}
	return nil, nil
}

func metadataGet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	k := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	v, err := get(o, "metadata_"+k)
	if err != nil {
		return nil, err
	}
	return denc.AppendBytes(nil, v), nil
}

func metadataList(o *pg.Object, r *denc.Reader) ([]byte, error) {
	after, limit := r.String(), r.U64()
	if r.Err() != nil {
		return nil, r.Err()
	}
	m := map[string][]byte{}
	keep := func(k string, v []byte) error { m[k] = v; return nil }
	if limit == 0 {
		if err := each(o, "metadata_", keep); err != nil {
			return nil, err
		}
	} else if err := page(o, "metadata_", after, limit, keep); err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, m, denc.AppendString, denc.AppendBytes), nil
}

func metadataRemove(o *pg.Object, r *denc.Reader) ([]byte, error) {
	k := r.String()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.RemoveOmap("metadata_" + k)
	return nil, nil
}

func migrationSet(o *pg.Object, r *denc.Reader) ([]byte, error) {
	o.SetOmap("migration", r.Rest())
	f, err := getU64(o, "features")
	if err == nil {
		setU64(o, "features", f|featMigrating)
	}
	return nil, err
}

func assertSnapSeq(o *pg.Object, r *denc.Reader) ([]byte, error) {
	seq, state := r.U64(), r.U8()
	if r.Err() != nil || state > 1 {
		return nil, errno.ErrInvalid
	}
	if (seq > o.SnapSeq()) != (state == 0) {
		return nil, errno.ErrRange
	}
	return nil, nil
}

func copyup(o *pg.Object, r *denc.Reader) ([]byte, error) {
	if o.Exists() {
		return nil, nil
	}
	if p := r.Rest(); len(p) > 0 {
		o.Write(0, p)
	} else {
		o.Create()
	}
	return nil, nil
}

func sparseCopyup(o *pg.Object, r *denc.Reader) ([]byte, error) {
	if o.Exists() {
		return nil, nil
	}
	extents := denc.Slice(r, 16, func(r *denc.Reader) [2]uint64 { return [2]uint64{r.U64(), r.U64()} })
	data := r.Bytes()
	if r.Err() != nil {
		return nil, r.Err()
	}
	o.Create()
	for _, e := range extents {
		if e[1] > uint64(len(data)) {
			return nil, errno.ErrInvalid
		}
		o.Write(e[0], data[:e[1]])
		data = data[e[1]:]
	}
	return nil, nil
}

// sparsify makes holes of the blocks that are all zeros.
func sparsify(o *pg.Object, r *denc.Reader) ([]byte, error) {
	block, removeEmpty := r.U64(), r.Bool()
	if r.Err() != nil || block == 0 {
		return nil, errno.ErrInvalid
	}
	if !o.Exists() {
		return nil, errno.ErrNotFound
	}
	p := o.Read(0, 0)
	last := uint64(0)
	for off := uint64(0); off < uint64(len(p)); off += block {
		b := p[off:min(off+block, uint64(len(p)))]
		zero := true
		for _, v := range b {
			if v != 0 {
				zero = false
				break
			}
		}
		if zero {
			o.Zero(off, uint64(len(b)))
		} else {
			last = off + uint64(len(b))
		}
	}
	switch {
	case last == 0 && removeEmpty:
		o.Remove()
	case last < uint64(len(p)):
		o.Truncate(last)
	}
	return nil, nil
}
