package rbd

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/rbdm/rbdm/rados"
)

// The names of RBD's objects (include/rbd_types.h).
const (
	idPrefix        = "rbd_id."
	headerPrefix    = "rbd_header."
	dataPrefix      = "rbd_data."
	objectMapPrefix = "rbd_object_map."
	directoryName   = "rbd_directory"
	childrenName    = "rbd_children"
	infoName        = "rbd_info"
	trashName       = "rbd_trash"
	namespaceName   = "rbd_namespace"
	mirrorStateName = "rbd_mirror_snapshot."
)

// maxIDLength is how many characters of an image's id are kept.
const maxIDLength = 14

// NewImageID makes an id that no other client of the cluster makes.
func NewImageID(c *rados.Client) string {
	const digits = 0x1000_0000 // of always the same number, or clients could make the same
	s := strconv.FormatUint(c.GlobalID(), 16) + strconv.FormatUint(digits+rand.Uint64N(0xf*digits), 16)
	if len(s) > maxIDLength {
		s = s[len(s)-maxIDLength:]
	}
	return s
}

// objectMapName returns the name of the object map of a snapshot, or the head.
func objectMapName(id string, snapID uint64) string {
	if snapID == NoSnap {
		return objectMapPrefix + id
	}
	return objectMapPrefix + id + fmt.Sprintf(".%016x", snapID)
}
