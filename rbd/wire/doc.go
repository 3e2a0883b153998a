// Package wire holds RBD's formats: what class rbd stores in the omap of an
// image's header and of the directories, what openers of an image tell each
// other, and the object map (src/cls/rbd/cls_rbd_types.h,
// src/librbd/WatchNotifyTypes.h, src/common/bit_vector.hpp of Ceph 16.2 to
// 20.2). It does no I/O; the library and the fake cluster share it.
package wire
