// Package wire holds the formats of image journals: what class journal keeps in
// the omap of journal.<image id>, the entries in the journal's data objects, and
// RBD's events and records inside them (src/cls/journal/cls_journal_types.h,
// src/journal/Entry.cc, src/librbd/journal/Types.h of Ceph 16.2 to 20.2). It
// does no I/O; the journal library and the fake cluster share it.
package wire
