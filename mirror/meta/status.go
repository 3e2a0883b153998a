package meta

import (
	"context"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// StatusChange is one status to write; Remove takes it away instead.
type StatusChange struct {
	GlobalID string
	Status   wire.MirrorSiteStatus
	Remove   bool
}

// WriteStatuses writes statuses in one request. Those of images that are not
// mirrored are ignored.
func WriteStatuses(ctx context.Context, io *rados.IoCtx, changes []StatusChange) error {
	if len(changes) == 0 {
		return nil
	}
	op := rados.NewOp()
	for _, c := range changes {
		in := denc.AppendString(nil, c.GlobalID)
		if !c.Remove {
			op.CallWrite(wire.Class, wire.MethodMirrorImageStatusSet, c.Status.Append(in))
			continue
		}
		op.CallWrite(wire.Class, wire.MethodMirrorImageStatusRemove, in)
		op.FailOK()
	}
	if err := io.Operate(ctx, Mirroring, op); err != nil {
		return fmt.Errorf("write %d statuses: %w", len(changes), err)
	}
	return nil
}

// RemoveDownStatuses removes the statuses that daemons which are gone have left.
func RemoveDownStatuses(ctx context.Context, io *rados.IoCtx) error {
	return gone(write(ctx, io, Mirroring, wire.MethodMirrorImageStatusRemoveDown, nil))
}

// Status returns an image's statuses; rados.ErrNotFound without any.
func Status(ctx context.Context, io *rados.IoCtx, gid string) (s wire.MirrorImageStatus, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorImageStatusGet, denc.AppendString(nil, gid), s.Decode)
	return s, err
}

// Statuses returns all mirrored images' entries, and the statuses of those that
// have any, by image id.
func Statuses(ctx context.Context, io *rados.IoCtx) (map[string]wire.MirrorImage, map[string]wire.MirrorImageStatus, error) {
	images, statuses := map[string]wire.MirrorImage{}, map[string]wire.MirrorImageStatus{}
	after := ""
	for {
		n := 0
		in := denc.AppendU64(denc.AppendString(nil, after), page)
		err := read(ctx, io, Mirroring, wire.MethodMirrorImageStatusList, in, func(r *denc.Reader) {
			for id, img := range denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) (i wire.MirrorImage) { i.Decode(r); return i }) {
				images[id] = img
				after = max(after, id)
				n++
			}
			for id, s := range denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) (s wire.MirrorImageStatus) { s.Decode(r); return s }) {
				statuses[id] = s
			}
		})
		if err != nil || n < page {
			return images, statuses, gone(err)
		}
	}
}

// Summary returns how many images are in which state, wire.MirrorStatus….
func Summary(ctx context.Context, io *rados.IoCtx, peers []wire.MirrorPeer) (counts map[uint8]int32, err error) {
	in := denc.AppendSlice(nil, peers, func(b []byte, p wire.MirrorPeer) []byte { return p.Append(b) })
	err = read(ctx, io, Mirroring, wire.MethodMirrorImageStatusGetSummary, in, func(r *denc.Reader) {
		counts = denc.Map(r, 5, (*denc.Reader).U8, (*denc.Reader).S32)
	})
	return counts, gone(err)
}

// Instances returns which client writes which image's status: by image id.
func Instances(ctx context.Context, io *rados.IoCtx) (map[string]wire.EntityInst, error) {
	all := map[string]wire.EntityInst{}
	after := ""
	for {
		n := 0
		in := denc.AppendU64(denc.AppendString(nil, after), page)
		err := read(ctx, io, Mirroring, wire.MethodMirrorImageInstanceList, in, func(r *denc.Reader) {
			for id, e := range denc.Map(r, 8, (*denc.Reader).String, func(r *denc.Reader) (e wire.EntityInst) { e.Decode(r); return e }) {
				all[id] = e
				after = max(after, id)
				n++
			}
		})
		if err != nil || n < page {
			return all, gone(err)
		}
	}
}
