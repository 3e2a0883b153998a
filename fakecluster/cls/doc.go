// Package cls holds the fake cluster's object classes: the methods that clients
// call on an object and that run inside the OSD (Ceph's src/cls). Each class
// answers as the one of the release that the cluster poses as, errors included.
// A class sees its object through the interface Object and keeps no state.
//
//	rbd      rbd_*.go    images, directories, object maps, trash, mirroring, groups
//	lock     lock.go     advisory locks
//	journal  journal.go  the metadata of image journals
//	hello, numops, sdk   hello.go, cas.go  Ceph's examples
//
// RBD does not use the others, but Ceph's tests do:
//
//	version, refcount  refs.go
//	log, timeindex     log.go
//	user               user.go
//	cmpomap            compare.go
//	cas                cas.go
//	otp                otp.go
//	queue, 2pc_queue   queue.go, queue_reserve.go
//	sem_set            semset.go  from 20.2 on
package cls
