// Package osdmap holds Ceph's OSD map: the pools, the placement groups and
// which OSDs serve them (src/osd/OSDMap.h, src/osd/osd_types.h), its full and
// incremental encodings, and the path from an object's name to the OSDs that
// hold it. Formats and rules of releases 16.2 to 20.2.
//
// A Map is immutable once it is published: Decode makes one, Apply makes a new
// one from an old one and an Incremental. Client and fake server share it.
//
//	name ── ObjectToPG ──> PG ── PGToUpActing ──> up, acting, primaries
package osdmap
