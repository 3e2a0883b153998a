package scenarios

import (
	"testing"

	"github.com/rbdm/rbdm/rbd"
)

// The sites mirror to each other: images are primary at either side at once, and
// each daemon receives what the other site sends.

func TestImagesArePrimaryAtEitherSide(t *testing.T)        { eitherSide(mirrored(t)) }
func TestImagesArePrimaryAtEitherSideJournal(t *testing.T) { eitherSide(mirroredByJournal(t)) }

func eitherSide(w *world) {
	w.Helper()
	const other = "rbd/other"
	w.a.run()
	w.b.create(other, imageSize, rbd.CreateOptions{})
	w.b.write(other, 7)
	w.b.enable(other)
	w.synced(w.b, w.a, other)
	for i := range uint64(2) {
		w.a.write(image, 10+i)
		w.b.write(other, 20+i)
		w.a.mirror(image)
		w.b.mirror(other)
		w.synced(w.a, w.b, image)
		w.synced(w.b, w.a, other)
	}
	w.b.disable(other)
	w.a.awaitGone(other)
	w.removed()
}

// TestImageChangesItsMode is mirrored by snapshots, by its journal, and by snapshots
// again.
func TestImageChangesItsMode(t *testing.T) {
	w := mirrored(t)
	for i, journal := range []bool{true, false} {
		w.a.disable(image)
		w.b.awaitGone(image)
		w.journal = journal
		w.a.write(image, uint64(30+i))
		w.a.enable(image)
		w.synced(w.a, w.b, image)
		w.a.write(image, uint64(40+i))
		w.a.mirror(image)
		w.synced(w.a, w.b, image)
	}
	w.removed()
}
