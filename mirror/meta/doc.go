// Package meta reads and writes what a pool says about its mirroring: the objects
// rbd_mirroring (mode, site, peers, images, statuses) and rbd_mirror_leader
// (instances and who replays what), as Ceph 16.2 to 20.2 keep them
// (src/cls/rbd/cls_rbd.cc, namespace mirror). Every function is one request, or
// one for each page of a list.
//
// Peers and the site's uuid belong to the pool: functions about them want the view
// of the default namespace. Modes, images and statuses belong to the namespace of
// the view.
package meta

// The objects of a pool or namespace.
const (
	// Mirroring is where mode, peers, images and statuses are.
	Mirroring = "rbd_mirroring"
	// Leader is where daemons elect their leader, and where it keeps its map.
	Leader = "rbd_mirror_leader"
	// InstancePrefix and an instance's id name the object by which it is reached.
	InstancePrefix = "rbd_mirror_instance."
)
