package cls

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rbd/wire"
)

// rbdMethods returns the methods of class rbd.
func rbdMethods(release int) map[string]method {
	all := map[string]method{}
	for _, part := range []map[string]method{
		headerMethods(), snapshotMethods(), parentMethods(), directoryMethods(), objectMapMethods(), dataMethods(), oldFormatMethods(),
		mirrorMethods(release), mirrorImageMethods(), mirrorStatusMethods(release), groupMethods(release),
	} {
		for name, m := range part {
			all[name] = m
		}
	}
	return all
}

func headerMethods() map[string]method {
	return map[string]method{
		wire.MethodCreate:             write(imageCreate),
		wire.MethodGetFeatures:        read(imageGetFeatures),
		wire.MethodSetFeatures:        write(imageSetFeatures),
		wire.MethodGetSize:            read(imageGetSize),
		wire.MethodSetSize:            write(imageSetSize),
		wire.MethodGetObjectPrefix:    read(imageGetPrefix),
		wire.MethodGetDataPool:        read(imageGetDataPool),
		wire.MethodGetAllFeatures:     read(imageAllFeatures),
		wire.MethodGetStripeUnitCount: read(imageGetStripe),
		wire.MethodSetStripeUnitCount: write(imageSetStripe),
		wire.MethodGetCreateTimestamp: read(imageGetTime(wire.KeyCreateTimestamp)),
		wire.MethodGetAccessTimestamp: read(imageGetTime(wire.KeyAccessTimestamp)),
		wire.MethodGetModifyTimestamp: read(imageGetTime(wire.KeyModifyTimestamp)),
		wire.MethodSetAccessTimestamp: write(imageSetTime(wire.KeyAccessTimestamp)),
		wire.MethodSetModifyTimestamp: write(imageSetTime(wire.KeyModifyTimestamp)),
		wire.MethodGetFlags:           read(imageGetFlags),
		wire.MethodSetFlags:           write(imageSetFlags),
		wire.MethodOpFeaturesGet:      read(imageGetOpFeatures),
		wire.MethodOpFeaturesSet:      write(imageSetOpFeatures),
		wire.MethodMetadataList:       read(metadataList),
		wire.MethodMetadataSet:        write(metadataSet),
		wire.MethodMetadataRemove:     write(metadataRemove),
		wire.MethodMetadataGet:        read(metadataGet),
		wire.MethodMigrationSet:       write(migrationSet),
		wire.MethodMigrationSetState:  write(migrationSetState),
		wire.MethodMigrationGet:       read(migrationGet),
		wire.MethodMigrationRemove:    write(migrationRemove),
	}
}

func setU64(o Object, key string, v uint64) { o.SetOmap(key, denc.AppendU64(nil, v)) }

func imageCreate(o Object, in *denc.Reader) ([]byte, error) {
	size, order, features, prefix, pool := in.U64(), in.U8(), in.U64(), in.String(), int64(-1)
	if in.Len() > 0 {
		pool = in.S64()
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	switch {
	case features&^wire.FeaturesAll != 0:
		return nil, errno.ErrNotImplemented
	case prefix == "":
		return nil, errno.ErrInvalid
	}
	if _, ok := o.Omap(wire.KeyObjectPrefix); ok {
		return nil, errno.ErrExists
	}
	if features&wire.FeatureOperations != 0 || (features&wire.FeatureDataPool != 0) != (pool != -1) {
		return nil, errno.ErrInvalid
	}
	setU64(o, wire.KeySize, size)
	o.SetOmap(wire.KeyOrder, []byte{order})
	setU64(o, wire.KeyFeatures, features)
	o.SetOmap(wire.KeyObjectPrefix, denc.AppendString(nil, prefix))
	setU64(o, wire.KeySnapSeq, 0)
	for _, key := range []string{wire.KeyCreateTimestamp, wire.KeyAccessTimestamp, wire.KeyModifyTimestamp} {
		o.SetOmap(key, denc.AppendTime(nil, now(o)))
	}
	if pool != -1 {
		o.SetOmap(wire.KeyDataPoolID, denc.AppendS64(nil, pool))
	}
	return nil, nil
}

func imageGetFeatures(o Object, in *denc.Reader) ([]byte, error) {
	in.U64() // a snapshot's id, no longer used
	readOnly := false
	if in.Len() > 0 {
		readOnly = in.Bool()
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	features, err := value(o, wire.KeyFeatures, u64)
	if err != nil {
		return nil, err
	}
	mask := wire.FeaturesWriteIncompatible
	if readOnly {
		mask = wire.FeaturesIncompatible
	}
	return denc.AppendU64(denc.AppendU64(nil, features), features&mask), nil
}

func imageSetFeatures(o Object, in *denc.Reader) ([]byte, error) {
	features, mask := in.U64(), in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := value(o, wire.KeyFeatures, u64)
	if old, err = otherwise(old, err, 0); err != nil {
		return nil, err
	}
	if mask&wire.FeaturesInternal != 0 {
		return nil, errno.ErrInvalid
	}
	mask &= wire.FeaturesAll
	on, off := features&mask, mask&^features
	if on&^wire.FeaturesMutable != 0 || off&^(wire.FeaturesMutable|wire.FeaturesDisableOnly) != 0 {
		return nil, errno.ErrInvalid
	}
	setU64(o, wire.KeyFeatures, old&^mask|on)
	return nil, nil
}

func imageGetSize(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	order, err := value(o, wire.KeyOrder, u8)
	if err != nil {
		return nil, err
	}
	var size uint64
	if id == wire.NoSnap {
		size, err = value(o, wire.KeySize, u64)
	} else {
		var s wire.SnapshotRecord
		s, err = readSnapshot(o, id)
		size = s.Size
	}
	if err != nil {
		return nil, err
	}
	return denc.AppendU64([]byte{order}, size), nil
}

func imageSetSize(o Object, in *denc.Reader) ([]byte, error) {
	size := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := value(o, wire.KeySize, u64)
	if err != nil {
		return nil, err
	}
	setU64(o, wire.KeySize, size)
	if size >= old {
		return nil, nil
	}
	p, err := readParent(o)
	if err != nil && !missing(err) {
		return nil, err
	}
	if p.Exists() && p.Overlap != nil && *p.Overlap > size {
		p.Overlap = &size
		o.SetOmap(wire.KeyParent, p.Append(nil))
	}
	return nil, nil
}

func imageGetPrefix(o Object, _ *denc.Reader) ([]byte, error) {
	prefix, err := value(o, wire.KeyObjectPrefix, text)
	if err != nil {
		return nil, err
	}
	return denc.AppendString(nil, prefix), nil
}

func imageGetDataPool(o Object, _ *denc.Reader) ([]byte, error) {
	pool, err := value(o, wire.KeyDataPoolID, (*denc.Reader).S64)
	if pool, err = otherwise(pool, err, -1); err != nil {
		return nil, err
	}
	return denc.AppendS64(nil, pool), nil
}

func imageAllFeatures(Object, *denc.Reader) ([]byte, error) {
	return denc.AppendU64(nil, wire.FeaturesAll), nil
}

// needFeature fails with errNoExec when the image lacks a feature.
func needFeature(o Object, feature uint64) error {
	features, err := value(o, wire.KeyFeatures, u64)
	switch {
	case missing(err):
		return errNoExec
	case err != nil:
		return err
	case features&feature != feature:
		return errNoExec
	}
	return nil
}

const (
	errNoExec  errno.Errno = 8 // ENOEXEC
	errBadFile errno.Errno = 9 // EBADF
)

func imageGetStripe(o Object, _ *denc.Reader) ([]byte, error) {
	if err := exists(o); err != nil {
		return nil, err
	}
	if err := needFeature(o, wire.FeatureStriping); err != nil {
		return nil, err
	}
	unit, err := value(o, wire.KeyStripeUnit, u64)
	if missing(err) {
		var order uint8
		if order, err = value(o, wire.KeyOrder, u8); err != nil {
			return nil, errno.ErrIO
		}
		unit = 1 << order
	}
	if err != nil {
		return nil, err
	}
	count, err := value(o, wire.KeyStripeCount, u64)
	if count, err = otherwise(count, err, 1); err != nil {
		return nil, err
	}
	return denc.AppendU64(denc.AppendU64(nil, unit), count), nil
}

func imageSetStripe(o Object, in *denc.Reader) ([]byte, error) {
	unit, count := in.U64(), in.U64()
	if in.Err() != nil || unit == 0 || count == 0 {
		return nil, errno.ErrInvalid
	}
	if err := exists(o); err != nil {
		return nil, err
	}
	if err := needFeature(o, wire.FeatureStriping); err != nil {
		return nil, err
	}
	order, err := value(o, wire.KeyOrder, u8)
	if err != nil {
		return nil, err
	}
	if size := uint64(1) << order; unit > size || size%unit != 0 {
		return nil, errno.ErrInvalid
	}
	setU64(o, wire.KeyStripeUnit, unit)
	setU64(o, wire.KeyStripeCount, count)
	return nil, nil
}

func imageGetTime(key string) handler {
	return func(o Object, _ *denc.Reader) ([]byte, error) {
		t, err := value(o, key, when)
		if t, err = otherwise(t, err, denc.Time{}); err != nil {
			return nil, err
		}
		return denc.AppendTime(nil, t), nil
	}
}

func imageSetTime(key string) handler {
	return func(o Object, _ *denc.Reader) ([]byte, error) {
		if err := exists(o); err != nil {
			return nil, err
		}
		o.SetOmap(key, denc.AppendTime(nil, now(o)))
		return nil, nil
	}
}

func imageGetFlags(o Object, in *denc.Reader) ([]byte, error) {
	id := in.U64()
	if err := bad(in); err != nil {
		return nil, err
	}
	flags, err := readFlags(o, id)
	if err != nil {
		return nil, err
	}
	return denc.AppendU64(nil, flags), nil
}

func readFlags(o Object, id uint64) (uint64, error) {
	if id == wire.NoSnap {
		flags, err := value(o, wire.KeyFlags, u64)
		return otherwise(flags, err, 0)
	}
	s, err := readSnapshot(o, id)
	return s.Flags, err
}

func imageSetFlags(o Object, in *denc.Reader) ([]byte, error) {
	flags, mask, id := in.U64(), in.U64(), wire.NoSnap
	if in.Len() > 0 {
		id = in.U64()
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	old, err := readFlags(o, id)
	if err != nil {
		return nil, err
	}
	flags = old&^mask | flags&mask
	if id == wire.NoSnap {
		setU64(o, wire.KeyFlags, flags)
		return nil, nil
	}
	s, err := readSnapshot(o, id)
	if err != nil {
		return nil, err
	}
	s.Flags = flags
	return nil, writeSnapshot(o, s)
}

func imageGetOpFeatures(o Object, _ *denc.Reader) ([]byte, error) {
	f, err := value(o, wire.KeyOpFeatures, u64)
	if f, err = otherwise(f, err, 0); err != nil {
		return nil, err
	}
	return denc.AppendU64(nil, f), nil
}

func imageSetOpFeatures(o Object, in *denc.Reader) ([]byte, error) {
	f, mask := in.U64(), in.U64()
	if in.Err() != nil || mask&^wire.OpFeaturesAll != 0 {
		return nil, errno.ErrInvalid
	}
	return nil, setOpFeatures(o, f, mask)
}

// setOpFeatures changes the operation features, and the feature that says that
// there are some.
func setOpFeatures(o Object, f, mask uint64) error {
	features, err := value(o, wire.KeyFeatures, u64)
	if err != nil {
		return err
	}
	old, err := value(o, wire.KeyOpFeatures, u64)
	if old, err = otherwise(old, err, 0); err != nil {
		return err
	}
	f = old&^mask | f&mask
	if f == old {
		return nil
	}
	next := features | wire.FeatureOperations
	if f == 0 {
		next = features &^ wire.FeatureOperations
		o.RemoveOmap(wire.KeyOpFeatures)
	} else {
		setU64(o, wire.KeyOpFeatures, f)
	}
	if next != features {
		setU64(o, wire.KeyFeatures, next)
	}
	return nil
}

func metadataList(o Object, in *denc.Reader) ([]byte, error) {
	after, limit, err := pageArgs(in)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = 64
	}
	found := map[string][]byte{}
	err = each(o, wire.PrefixMetadata, after, func(name string, v []byte) (bool, error) {
		found[name] = v
		return uint64(len(found)) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	return denc.AppendMap(nil, found, denc.AppendString, denc.AppendBytes), nil
}

func metadataSet(o Object, in *denc.Reader) ([]byte, error) {
	pairs := map[string][]byte{}
	for k, v := range denc.Map(in, 8, text, blob) {
		pairs[wire.PrefixMetadata+k] = v
	}
	if err := bad(in); err != nil {
		return nil, err
	}
	o.SetOmaps(pairs)
	return nil, nil
}

func metadataRemove(o Object, in *denc.Reader) ([]byte, error) {
	key := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	return nil, removeKey(o, wire.PrefixMetadata+key)
}

func metadataGet(o Object, in *denc.Reader) ([]byte, error) {
	key := in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	v, err := stored(o, wire.PrefixMetadata+key)
	if err != nil {
		return nil, err
	}
	return denc.AppendBytes(nil, v), nil
}

func migrationSet(o Object, in *denc.Reader) ([]byte, error) {
	m := one[wire.MigrationSpec](in)
	if err := bad(in); err != nil {
		return nil, err
	}
	if _, ok := o.Omap(wire.KeyMigration); ok {
		return nil, errno.ErrExists
	}
	features, err := value(o, wire.KeyFeatures, u64)
	switch {
	case missing(err):
		return nil, oldMigrationSet(o, m)
	case err != nil:
		return nil, err
	case features&wire.FeatureMigrating == 0:
		setU64(o, wire.KeyFeatures, features|wire.FeatureMigrating)
	case m.Header != wire.MigrationDestination:
		return nil, errno.ErrExists
	}
	o.SetOmap(wire.KeyMigration, m.Append(nil))
	return nil, nil
}

func readMigration(o Object) (m wire.MigrationSpec, err error) {
	features, err := value(o, wire.KeyFeatures, u64)
	switch {
	case missing(err):
		if migrating, err := oldMigrating(o); err != nil {
			return m, err
		} else if !migrating {
			return m, errno.ErrInvalid
		}
		return value(o, wire.KeyMigration, one[wire.MigrationSpec])
	case err != nil:
		return m, err
	case features&wire.FeatureMigrating == 0:
		return m, errno.ErrInvalid
	}
	return value(o, wire.KeyMigration, one[wire.MigrationSpec])
}

func migrationSetState(o Object, in *denc.Reader) ([]byte, error) {
	state, description := in.U8(), in.String()
	if err := bad(in); err != nil {
		return nil, err
	}
	m, err := readMigration(o)
	if err != nil {
		return nil, err
	}
	m.State, m.StateDescription = state, description
	o.SetOmap(wire.KeyMigration, m.Append(nil))
	return nil, nil
}

func migrationGet(o Object, _ *denc.Reader) ([]byte, error) {
	m, err := readMigration(o)
	if err != nil {
		return nil, err
	}
	return m.Append(nil), nil
}

func migrationRemove(o Object, _ *denc.Reader) ([]byte, error) {
	o.RemoveOmap(wire.KeyMigration)
	features, err := value(o, wire.KeyFeatures, u64)
	switch {
	case missing(err):
		migrating, err := oldMigrating(o)
		if err != nil {
			return nil, errno.ErrNoDevice // what cannot be read is no header
		}
		if !migrating {
			return nil, errno.ErrInvalid
		}
		o.Write(0, []byte(oldText))
		return nil, nil
	case err != nil:
		return nil, err
	}
	if features&wire.FeatureMigrating != 0 {
		setU64(o, wire.KeyFeatures, features&^wire.FeatureMigrating)
	}
	return nil, nil
}
