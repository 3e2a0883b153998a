// Package rbd is the RBD image library: what librbd does, for images of format
// 2 as Ceph 16.2 to 20.2 write them. It creates, opens, reads, writes, resizes,
// snapshots, clones, compares, copies and removes images, keeps the object map,
// takes part in the exclusive-lock protocol, and delegates maintenance to the
// lock's owner as librbd does. What it leaves in the cluster is what librbd
// leaves, so images can be used by both in turn or at once.
//
//	Image            one opened image: I/O, snapshots, maintenance
//	 ├ header        what rbd_header.<id> says, one immutable value per refresh
//	 ├ exclusive lock, header watch, delegation to the owner
//	 ├ object map    rbd_object_map.<id>, kept while the lock is ours
//	 ├ journal       what is done to an image with the feature is recorded before
//	 └ parent        the image below a clone, opened read-only at its snapshot
//
// A Group holds images that are taken snapshots of, and taken back to them, together:
// at one instant, with the exclusive locks of all of them.
//
// Who takes the exclusive lock of an image with the journaling feature applies what
// the last owner left in the journal. An image whose journal lets another site write
// is read-only (rados.ErrReadOnly) but for the mirroring engine.
package rbd
