package cls

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// memory is an object without a cluster.
type memory struct {
	exists   bool
	data     []byte
	xattrs   map[string][]byte
	omap     map[string][]byte
	client   entity.Name
	addr     entity.Addr
	watchers []wire.Watcher
	now      time.Time
	snapSeq  uint64
	header   []byte
	nested   int
}

func newMemory() *memory {
	return &memory{
		xattrs: map[string][]byte{}, omap: map[string][]byte{}, client: entity.Name{Type: entity.TypeClient, Num: 4100},
		addr: entity.Addr{Type: entity.AddrMsgr2, Nonce: 7, IP: netip.MustParseAddrPort("127.0.0.1:0")}, now: time.Unix(1000, 0),
	}
}

func (m *memory) Exists() bool              { return m.exists }
func (m *memory) Stored() bool              { return m.exists }
func (m *memory) Create()                   { m.exists = true }
func (m *memory) Remove()                   { *m = *newMemory() }
func (m *memory) Stat() (uint64, time.Time) { return uint64(len(m.data)), m.now }
func (m *memory) Version() uint64           { return 1 }

func (m *memory) Read(off, n uint64) ([]byte, error) {
	if n == 0 {
		n = uint64(len(m.data))
	}
	off = min(off, uint64(len(m.data)))
	return m.data[off:min(off+n, uint64(len(m.data)))], nil
}

func (m *memory) Write(off uint64, p []byte) {
	m.exists = true
	if end := off + uint64(len(p)); end > uint64(len(m.data)) {
		m.Truncate(end)
	}
	copy(m.data[off:], p)
}

func (m *memory) WriteFull(p []byte) { m.exists, m.data = true, slices.Clone(p) }

func (m *memory) Truncate(size uint64) {
	m.exists = true
	m.data = append(m.data, make([]byte, max(size, uint64(len(m.data)))-uint64(len(m.data)))...)[:size]
}

func (m *memory) Zero(off, n uint64) { clear(m.data[off:min(off+n, uint64(len(m.data)))]) }

func (m *memory) Xattr(name string) ([]byte, bool) { v, ok := m.xattrs[name]; return v, ok }
func (m *memory) Xattrs() map[string][]byte        { return maps.Clone(m.xattrs) }
func (m *memory) SetXattr(name string, v []byte)   { m.exists, m.xattrs[name] = true, slices.Clone(v) }
func (m *memory) RemoveXattr(name string)          { delete(m.xattrs, name) }

func (m *memory) Omap(key string) ([]byte, bool) { v, ok := m.omap[key]; return v, ok }

func (m *memory) OmapPage(after, prefix string, limit uint64) (keys []string, values map[string][]byte, more bool, err error) {
	values = map[string][]byte{}
	for _, k := range slices.Sorted(maps.Keys(m.omap)) {
		if k <= after || !strings.HasPrefix(k, prefix) {
			continue
		}
		if uint64(len(keys)) == limit {
			return keys, values, true, nil
		}
		keys, values[k] = append(keys, k), m.omap[k]
	}
	return keys, values, false, nil
}

func (m *memory) SetOmap(key string, v []byte) { m.exists, m.omap[key] = true, slices.Clone(v) }
func (m *memory) SetOmaps(values map[string][]byte) {
	m.exists = true
	maps.Copy(m.omap, values)
}
func (m *memory) RemoveOmap(key string)  { delete(m.omap, key) }
func (m *memory) OmapHeader() []byte     { return m.header }
func (m *memory) SetOmapHeader(v []byte) { m.exists, m.header = true, slices.Clone(v) }
func (m *memory) ClearOmap()             { clear(m.omap) }

func (m *memory) RemoveOmapRange(first, end string) {
	maps.DeleteFunc(m.omap, func(k string, _ []byte) bool { return k >= first && k < end })
}

func (m *memory) Unique() string { return fmt.Sprint("1.", m.nested) }
func (m *memory) Nested(n int)   { m.nested += n }

func (m *memory) Client() (entity.Name, entity.Addr) { return m.client, m.addr }
func (m *memory) Watchers() []wire.Watcher           { return m.watchers }
func (m *memory) Now() time.Time                     { return m.now }
func (m *memory) SnapSeq() (uint64, bool)            { return m.snapSeq, m.exists }
func (m *memory) SnapContext() wire.SnapContext      { return wire.SnapContext{} }

// appender is an argument.
type appender interface{ Append(b []byte) []byte }

// in encodes arguments: what has an Append method, strings, bools and integers
// by their type.
func in(args ...any) (b []byte) {
	for _, a := range args {
		switch v := a.(type) {
		case appender:
			b = v.Append(b)
		case string:
			b = denc.AppendString(b, v)
		case bool:
			b = denc.AppendBool(b, v)
		case uint8:
			b = denc.AppendU8(b, v)
		case uint32:
			b = denc.AppendU32(b, v)
		case uint64:
			b = denc.AppendU64(b, v)
		case int64:
			b = denc.AppendS64(b, v)
		default:
			panic("argument of an unknown type")
		}
	}
	return b
}

// caller calls methods of one class of one release.
type caller struct {
	t     *testing.T
	g     *Registry
	class string
}

// ok calls a method that must succeed.
func (c caller) ok(o Object, method string, args ...any) *denc.Reader {
	c.t.Helper()
	out, r := c.g.Call(o, c.class, method, in(args...))
	if r != 0 {
		c.t.Fatalf("%s: %v", method, errno.FromResult(r))
	}
	return denc.NewReader(out)
}

// fails calls a method that must fail with want.
func (c caller) fails(want errno.Errno, o Object, method string, args ...any) {
	c.t.Helper()
	if _, r := c.g.Call(o, c.class, method, in(args...)); !errors.Is(errno.FromResult(r), want) {
		c.t.Fatalf("%s: result %d, want %v", method, r, want)
	}
}
