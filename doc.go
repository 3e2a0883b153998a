// Package rbdm is the root of the module; the code is in its folders. From the
// bottom up: msgr2 (transport, authentication, encoding), rados (the cluster
// client), journal and rbd (images), mirror (the engine), cmd/rbdm (the binary).
// fakecluster, a Ceph cluster in memory, shares the wire types of them all.
package rbdm
