// Package journal records and replays journals that are striped over objects of
// a pool: what Ceph's src/journal is, and what RBD's journaling and journal-based
// mirroring stand on. It knows nothing of images: an entry's payload is bytes to
// it (RBD's are wire.Event). Formats are those of 16.2 to 20.2.
//
//	      Journal                metadata, clients, tags, header watch, trimming
//	     /   │   \
//	Player  commit  Recorder     entries read in order ─ done with ─ written in order
//	     \   │   /
//	   splay objects             journal_data.<pool>.<id>.<n>
//
// A journal's entries belong to tags, one for every owner that wrote; within a
// tag they are numbered from 0. Entry n goes to the data object at offset
// n modulo splay width of the active object set, and when an object is full the
// next set becomes the active one. Readers are clients with a commit position:
// what they are done with. Object sets that all connected clients are done with
// are removed.
//
// Of the files, journal, refresh, clients and tags hold the metadata, commit and
// trim what is done and gone; player, stream and parse read, recorder,
// objectrecorder and future write; create makes and removes journals.
package journal
