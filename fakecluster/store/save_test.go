package store

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRunsComeBack saves chains of states that share memory: what comes back is
// equal, and shares as much.
func TestRunsComeBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var b Bytes
		var states []Bytes
		for range 4 {
			for range rng.IntN(6) {
				off, n := uint64(rng.IntN(100<<10)), rng.IntN(40<<10)
				switch rng.IntN(5) {
				case 0:
					b.Zero(off, uint64(n))
				case 1:
					b.Truncate(off)
				default:
					b.WriteBytes(off, bytes.Repeat([]byte{byte(rng.Uint32())}, n+1))
				}
			}
			states = append(states, b.Clone())
		}
		var back []Bytes
		var older, olderBack *Bytes
		for i := range states {
			var c Bytes
			c.Truncate(states[i].Size())
			literal := 0
			for r := range states[i].Runs(older) {
				literal += len(r.P)
				if err := c.Put(r, olderBack); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(c.Read(0, c.Size()).Bytes(), states[i].Read(0, states[i].Size()).Bytes()) {
				t.Fatal("contents differ")
			}
			if older != nil && len(states[i].ext) > 0 && states[i].Stored() == older.Stored() && &states[i].ext[0] == &older.ext[0] && literal > 0 {
				t.Fatalf("%d bytes of an unchanged state were saved again", literal)
			}
			back = append(back, c)
			older, olderBack = &states[i], &back[len(back)-1]
		}
	}
}

func TestPutRefusesWhatIsOutOfPlace(t *testing.T) {
	var older Bytes
	older.WriteBytes(10, []byte("0123456789"))
	for _, bad := range [][]Run{
		{{Off: 0}},
		{{Off: 95, P: []byte("too long")}},
		{{Off: 1 << 63, Same: 1 << 63}},
		{{Off: 5, P: []byte("ab")}, {Off: 6, P: []byte("ab")}},
		{{Off: 10, Same: 11}},
		{{Off: 9, Same: 2}},
		{{Off: 10, Same: 2, P: []byte("ab")}},
	} {
		var b Bytes
		b.Truncate(100)
		var err error
		for _, r := range bad {
			if err = b.Put(r, &older); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
