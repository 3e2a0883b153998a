package journal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	rwire "github.com/rbdm/rbdm/rados/wire"
)

// inParts cuts p where a caller might have.
func inParts(p []byte, cuts ...int) msgr2.Data {
	var d msgr2.Data
	for _, n := range cuts {
		n = min(n, len(p))
		d.Append(p[:n])
		p = p[n:]
	}
	d.Append(p)
	return d
}

func TestInputOfAnAppend(t *testing.T) {
	var entries []*Future
	var want []byte
	for i, cuts := range [][]int{{}, {30, 4000}, {600, 600, 1}, {3}, {512, 513}} {
		for _, n := range []int{0, 5, 600, 5000} {
			p := payload(3, i*10+n, n)
			d := inParts(p, cuts...).Checked()
			f := &Future{tag: 3, tid: uint64(i), payload: d, crc: d.CRC()}
			entries = append(entries, f)
			want = wire.Entry{TagTID: 3, EntryTID: f.tid, Data: p}.Append(want)
		}
	}
	head := denc.AppendBytes(denc.AppendU64(nil, 1<<24), want)
	buf := make([]byte, 0, smallBytes(entries))
	in := appendInput(buf, entries, 1<<24, uint32(len(want)))
	if !bytes.Equal(in.Bytes(), head) || in.CRC() != denc.CRC32C(^uint32(0), head) {
		t.Error("not the entries in one piece")
	}
	// Everything small is in the buffer, and nothing large.
	if n := len(buf[:cap(buf)]); n != smallBytes(entries) || n > 9000 {
		t.Errorf("%d small bytes", n)
	}
}

func TestEntriesOfOneCallGoTogether(t *testing.T) {
	c, p := fakePool(t)
	create(t, p, "x", DefaultLayout)
	j := open(t, p, "x", "", quick())
	appends := 0
	defer c.Inject(fakecluster.Fault{Type: rwire.TypeOSDOp, Op: rwire.OpCall, Prefix: "journal_data.", Do: func(*fakecluster.Event) { appends++ }})()
	r := recorder(t, j)
	var all []msgr2.Data
	for i := range 9 {
		all = append(all, inParts(payload(0, i, 100), 7))
	}
	fs, err := r.AppendAll(t.Context(), 0, all)
	must(t, err)
	must(t, fs[8].Wait(t.Context()))
	if appends != int(DefaultLayout.SplayWidth) {
		t.Errorf("%d appends", appends)
	}
	for i := range fs {
		if fs[i].EntryTID() != uint64(i) {
			t.Errorf("entry %d has number %d", i, fs[i].EntryTID())
		}
	}
	// All or none.
	all[8] = msgr2.NewData(make([]byte, 1<<DefaultLayout.Order))
	if _, err := r.AppendAll(t.Context(), 0, all); !errors.Is(err, rados.ErrInvalid) {
		t.Error(err)
	}
	last, err := r.Append(t.Context(), 0, payload(0, 9, 100))
	must(t, err)
	if must(t, last.Wait(t.Context())); last.EntryTID() != 9 {
		t.Errorf("entry %d", last.EntryTID())
	}
	got, err := drain(player(t, j, PlayerOptions{All: true}))
	must(t, err)
	expect(t, got, 0, 0, 10, 100)
}

// BenchmarkAppendInput is what an append costs before it is sent, its checksum
// included: by entries whose payload's checksum the caller knows and one that it does
// not know.
func BenchmarkAppendInput(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10} {
		for _, known := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/known=%v", size, known), func(b *testing.B) {
				var entries []*Future
				for i := range 16 {
					d := inParts(payload(0, i, size), 40, size-60)
					if known {
						d = d.Checked()
					}
					entries = append(entries, &Future{payload: d})
				}
				buf := make([]byte, 0, smallBytes(entries))
				b.SetBytes(int64(size * len(entries)))
				b.ReportAllocs()
				for b.Loop() {
					for _, f := range entries {
						f.crc = f.payload.CRC()
					}
					in := appendInput(buf[:0], entries, 1<<24, 1)
					_ = in.CRC()
				}
			})
		}
	}
}
