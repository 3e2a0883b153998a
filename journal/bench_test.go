package journal

import (
	"fmt"
	"testing"
	"time"
)

// quietJournal is a journal on a fake cluster whose client does nothing by
// itself.
func quietJournal(b *testing.B) *Journal {
	_, p := fakePool(b)
	create(b, p, "x", DefaultLayout)
	o := DefaultOptions()
	o.CommitAge, o.NoTrim = time.Hour, true
	return open(b, p, "x", "", o)
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := recorder(b, quietJournal(b))
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f, err := r.Append(b.Context(), 0, data)
				must(b, err)
				f.Committed()
			}
			must(b, r.Flush(b.Context()))
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			j := quietJournal(b)
			record(b, recorder(b, j), 0, 4000, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var p *Player
			for b.Loop() {
				if p == nil {
					p = player(b, j, PlayerOptions{All: true})
				}
				if e, err := p.Next(b.Context()); err != nil {
					b.Fatal(err)
				} else if e.EntryTID == 3999 {
					p = nil
				}
			}
		})
	}
}
