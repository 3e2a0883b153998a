//go:build interop

package journal

import (
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
)

// BenchmarkInterop records and replays on the first of the real clusters.
func BenchmarkInterop(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		s := newSite(b, confs(b)[0])
		must(b, Create(b.Context(), s.io, "bench", DefaultLayout))
		j := open(b, s.io, "bench", "", DefaultOptions())
		must(b, j.Register(b.Context(), nil))
		_, err := j.AllocateTag(b.Context(), wire.NewTagClass, nil)
		must(b, err)
		b.Run(fmt.Sprint("append", size), func(b *testing.B) {
			r := recorder(b, j)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, err := r.Append(b.Context(), 0, data)
				must(b, err)
			}
			must(b, r.Flush(b.Context()))
		})
		b.Run(fmt.Sprint("replay", size), func(b *testing.B) {
			n := 0
			began := time.Now()
			for b.Loop() {
				all, err := drain(player(b, j, PlayerOptions{All: true}))
				must(b, err)
				n += len(all)
			}
			b.ReportMetric(float64(n)/time.Since(began).Seconds(), "entries/s")
		})
	}
}
