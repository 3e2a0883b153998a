//go:build interop

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// classCall is a call of class journal.
type classCall struct {
	method string
	object string
	write  bool
	in     []byte
}

// randomCall makes a call whose arguments are often about right.
func randomCall(rnd *rand.Rand) classCall {
	id := []string{"", "a", "b", "c"}[rnd.IntN(4)]
	small := func() uint64 { return rnd.Uint64N(6) }
	str := denc.AppendString(nil, id)
	c := classCall{object: "journal.x", write: true}
	switch rnd.IntN(18) {
	case 0:
		c.method, c.in = wire.MethodSetMinimumSet, denc.AppendU64(nil, small())
	case 1:
		c.method, c.in = wire.MethodSetActiveSet, denc.AppendU64(nil, small())
	case 2, 3:
		c.method, c.in = wire.MethodClientRegister, denc.AppendBytes(str, []byte(id))
	case 4:
		c.method, c.in = wire.MethodClientUpdateData, denc.AppendBytes(str, []byte("data"))
	case 5:
		c.method, c.in = wire.MethodClientUpdateState, denc.AppendU8(str, uint8(rnd.IntN(3)))
	case 6:
		c.method, c.in = wire.MethodClientUnregister, str
	case 7, 8, 9:
		var p wire.CommitPosition
		for range rnd.IntN(4) {
			p = append(p, wire.ObjectPosition{Object: small(), TagTID: small(), EntryTID: small()})
		}
		c.method, c.in = wire.MethodClientCommit, p.Append(str)
	case 10, 11, 12:
		class := rnd.Uint64N(3)
		if class == 2 {
			class = wire.NewTagClass
		}
		c.method, c.in = wire.MethodTagCreate, denc.AppendBytes(denc.AppendU64(denc.AppendU64(nil, rnd.Uint64N(12)), class), []byte("tag"))
	case 13:
		c.method, c.in, c.object = wire.MethodGuardAppend, denc.AppendU64(nil, rnd.Uint64N(40)), "data"
	case 14:
		c.method, c.in, c.object = wire.MethodAppend, denc.AppendBytes(denc.AppendU64(nil, rnd.Uint64N(60)), []byte("0123456789")), "data"
	case 15:
		c.method, c.in, c.write = wire.MethodGetClient, str, false
	case 16:
		c.method, c.in, c.write = wire.MethodGetTag, denc.AppendU64(nil, small()), false
	default:
		c.method, c.in = wire.MethodClientUpdateData, []byte{1, 0}
	}
	return c
}

// look are the calls that only read, made after every change.
func look(rnd *rand.Rand) []classCall {
	var all []classCall
	for _, m := range []string{wire.MethodGetMinimumSet, wire.MethodGetActiveSet, wire.MethodGetNextTagTID} {
		all = append(all, classCall{method: m, object: "journal.x"})
	}
	after := []string{"", "a", "b", "zz"}[rnd.IntN(4)]
	all = append(all, classCall{method: wire.MethodClientList, object: "journal.x", in: denc.AppendU64(denc.AppendString(nil, after), rnd.Uint64N(5))})
	class := rnd.Uint64N(3)
	l := wire.TagList{After: rnd.Uint64N(4), Max: rnd.Uint64N(9), Client: []string{"", "a", "b"}[rnd.IntN(3)]}
	if class < 2 {
		l.Class = &class
	}
	return append(all, classCall{method: wire.MethodTagList, object: "journal.x", in: l.Append(nil)})
}

// answer is what a cluster answers to a call, as text.
func (c classCall) answer(t *testing.T, io *rados.IoCtx) string {
	var out []byte
	var err error
	if c.write {
		err = io.ExecWrite(t.Context(), c.object, wire.Class, c.method, c.in)
	} else {
		out, err = io.Exec(t.Context(), c.object, wire.Class, c.method, c.in)
	}
	var errno rados.Errno
	if err != nil && !errors.As(err, &errno) {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %x", errno, out)
}

// TestInteropClass calls the methods of class journal at random on a real cluster
// and on the fake one: they must answer the same and leave the same.
func TestInteropClass(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	sites(t, func(t *testing.T, s *site) {
		_, fake := fakePool(t, fakecluster.Release(20))
		rnd := rand.New(rand.NewPCG(seed, 0))
		create := classCall{method: wire.MethodCreate, object: "journal.x", write: true, in: []byte{12, 2, 255, 255, 255, 255, 255, 255, 255, 255}}
		both := func(c classCall) {
			if got, want := c.answer(t, fake), c.answer(t, s.io); got != want {
				t.Fatalf("%s %x: the fake cluster answers %s, the real one %s", c.method, c.in, got, want)
			}
		}
		for range 12 {
			for i := range 60 {
				if i == 6 || i == 30 {
					both(create)
				}
				both(randomCall(rnd))
				for _, c := range look(rnd) {
					both(c)
				}
			}
			a, errA := fake.OmapGetAll(t.Context(), "journal.x", "")
			b, errB := s.io.OmapGetAll(t.Context(), "journal.x", "")
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("fake %q %v\nreal %q %v", a, errA, b, errB)
			}
			p, _ := fake.Read(t.Context(), "data", 0, 1000)
			q, _ := s.io.Read(t.Context(), "data", 0, 1000)
			if !bytes.Equal(p, q) {
				t.Fatalf("fake %q real %q", p, q)
			}
			for _, io := range []*rados.IoCtx{fake, s.io} {
				_ = io.Remove(t.Context(), "journal.x")
				_ = io.Remove(t.Context(), "data")
			}
		}
	})
}
