package pg

import (
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

func TestTmap(t *testing.T) {
	g, _ := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	update := func(want int32, p []byte) {
		t.Helper()
		c.do(want, wire.SnapHead, wire.SnapContext{}, op(wire.OpTmapUp, func(o *wire.Op) { o.Data = msgr2.NewData(p) }))
	}
	step := func(b []byte, code uint8, parts ...string) []byte {
		b = denc.AppendU8(b, code)
		for _, s := range parts {
			b = denc.AppendString(b, s)
		}
		return b
	}
	update(noent, step(nil, tmapRemove, "a"))
	update(0, step(step(step(nil, tmapHeader, "head"), tmapSet, "b", "2"), tmapCreate, "a", "1"))
	update(errno.ErrExists.Result(), step(step(nil, tmapSet, "c", "3"), tmapCreate, "a", "x"))
	update(noent, step(nil, tmapRemove, "c"))
	update(0, step(nil, tmapRemoveIfThat, "c"))
	update(inval, step(nil, 'x', "a"))
	update(inval, []byte{tmapSet, 200, 0, 0, 0, 'a'})
	want := denc.AppendU32(denc.AppendString(nil, "head"), 2)
	for _, s := range []string{"a", "1", "b", "2"} {
		want = denc.AppendString(want, s)
	}
	if got := c.content(wire.SnapHead); got != string(want) {
		t.Errorf("%q, want %q", got, want)
	}
	update(0, step(nil, tmapRemove, "a"))
	c.do(0, wire.SnapHead, wire.SnapContext{}, write(0, "\xff\xff\xff\xff"))
	update(inval, step(nil, tmapSet, "a", "1"))
}
