package pg

import (
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/rados/wire"
)

// OmapAll returns the omap of an object, as a manager's module that lives with
// the cluster sees it; nil when the object is not there.
func (g *Group) OmapAll(n Name) map[string][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.objects[n]
	if o == nil || !o.exists {
		return nil
	}
	m := map[string][]byte{}
	maps.Insert(m, o.head.omap.From(""))
	return m
}

// OmapPut sets one key of an object, which is made if need be; a nil value
// removes it.
func (g *Group) OmapPut(n Name, hash uint32, key string, v []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	o := g.object(n, hash)
	t := &txn{g: g, o: o, req: &Request{Op: &wire.OSDOp{}}, existed: o.exists, stored: o.stored()}
	if v == nil {
		t.removeOmap(key)
	} else {
		t.setOmap(key, slices.Clone(v))
	}
	t.commit()
	g.hold(t)
	g.drop(t.o)
}

// Names returns the names of the heads in a namespace that begin with prefix,
// and of objects of which only clones are left.
func (g *Group) Names(ns, prefix string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for n := range g.objects {
		if n.Namespace == ns && strings.HasPrefix(n.Object, prefix) {
			out = append(out, n.Object)
		}
	}
	slices.Sort(out)
	return out
}
