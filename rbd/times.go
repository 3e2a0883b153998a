package rbd

import (
	"context"
	"time"

	"github.com/rbdm/rbdm/rados"
)

// timestampInterval is how often the stored times of access and modification
// are brought up to date (rbd_atime_update_interval, rbd_mtime_update_interval).
const timestampInterval = 60

// touchAccessTime notes that the image was read. Only openers that may change
// the image do.
func (img *Image) touchAccessTime(h *header) {
	if img.opts.ReadOnly || img.snapID != NoSnap || h.has(FeatureNonPrimary) || h.has(FeatureJournaling) {
		return
	}
	now := time.Now().Unix()
	last := img.lastAccess.Load()
	if now < last+timestampInterval || !img.lastAccess.CompareAndSwap(last, now) {
		return
	}
	img.storeTime("set_access_timestamp")
}

// touchModifyTime notes that the image was written to.
func (img *Image) touchModifyTime(h *header) {
	now := time.Now().Unix()
	last := img.lastModify.Load()
	if now < last+timestampInterval || !img.lastModify.CompareAndSwap(last, now) {
		return
	}
	img.storeTime("set_modify_timestamp")
}

// storeTime sets a timestamp to now, in the background: a failure is no reason
// to fail the I/O.
func (img *Image) storeTime(method string) {
	img.background(func(ctx context.Context) {
		op := rados.NewOp()
		op.CallWrite(rbdClass, method, nil)
		if err := img.io.Operate(ctx, img.oid, op); err != nil && ctx.Err() == nil {
			img.log.Debug("timestamp not stored", "method", method, "error", err)
		}
	})
}
