package scenarios

import (
	"bytes"
	"testing"

	"github.com/rbdm/rbdm/rbd"
)

// One image, that is empty, written from its beginning to its end, and at random, with
// a daemon that starts again in between.
func TestScenario52OneImageJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.journal = true
	again := func() {
		w.b.stop()
		w.b.run()
	}
	w.a.create(image, imageSize, rbd.CreateOptions{})
	w.a.enable(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	again()
	w.a.with(image, func(img *rbd.Image) error {
		for off := uint64(0); off < imageSize; off += 1 << 14 {
			if _, err := img.WriteAt(w.ctx, bytes.Repeat([]byte{byte(off>>14) | 1}, 1<<14), off); err != nil {
				return err
			}
		}
		return nil
	})
	w.synced(w.a, w.b, image)
	w.b.stop()
	for seed := range uint64(4) {
		w.a.write(image, seed)
	}
	w.b.run()
	w.a.write(image, 9)
	w.synced(w.a, w.b, image)
	again()
	w.synced(w.a, w.b, image)
	w.removed()
}
