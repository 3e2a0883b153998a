// Package cls holds the fake cluster's object classes: the methods that clients
// call on an object and that run inside the OSD (Ceph's src/cls). Each class
// answers as the one of the release that the cluster poses as, errors included.
// A class sees its object through the interface Object and keeps no state.
//
//	rbd      rbd_*.go    images, directories, object maps, trash, mirroring, groups
//	lock     lock.go     advisory locks
//	journal  journal.go  the metadata of image journals
package cls
