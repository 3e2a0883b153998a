//go:build interop

package rbd

import "testing"

// explainMaps says in which objects a map differs from what is there.
func explainMaps(t testing.TB, img *Image) {
	t.Helper()
	ctx := t.Context()
	h := img.header()
	truth, err := img.observeMaps(ctx, h, nil)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range truth {
		id := NoSnap
		if i < len(h.snaps) {
			id = h.snaps[i].ID
		}
		bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, id))
		if err != nil {
			t.Errorf("%s: %v", pointName(h, id), err)
			continue
		}
		for o := range max(truth[i].Len(), bits.Len()) {
			if is, says := truth[i].Get(o), bits.Get(o); is != says {
				set, _ := listSnaps(ctx, h.dataIO, h.objectName(o))
				t.Errorf("%s: object %d is %d, the map says %d: %+v", pointName(h, id), o, is, says, set)
			}
		}
	}
}
