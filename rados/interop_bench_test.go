//go:build interop

package rados_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

// BenchmarkInterop measures against the cluster of RBDM_CONF.
func BenchmarkInterop(b *testing.B) {
	c := connect(b, confs(b)[0])
	io := newPool(b, c)
	ctx := context.Background()
	for _, bench := range []struct {
		name        string
		size, depth int
		write       bool
	}{
		{"write4K/depth32", 4096, 32, true}, {"read4K/depth32", 4096, 32, false},
		{"write4K/depth1", 4096, 1, true}, {"read4K/depth1", 4096, 1, false},
		{"write4M/depth16", 4 << 20, 16, true}, {"read4M/depth16", 4 << 20, 16, false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			payload := bytes.Repeat([]byte("rbdm"), bench.size/4)
			const objects = 64
			if !bench.write {
				for i := range objects {
					check(b, "fill", io.WriteFull(ctx, fmt.Sprintf("b%d", i), payload))
				}
			}
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			slots := make(chan struct{}, bench.depth)
			b.ResetTimer()
			for i := range b.N {
				slots <- struct{}{}
				op := rados.NewOp()
				if bench.write {
					op.WriteFull(msgr2.NewData(payload))
				} else {
					op.Read(0, uint64(bench.size))
				}
				io.Go(ctx, fmt.Sprintf("b%d", i%objects), op, func(err error) {
					if err != nil {
						b.Error(err)
					}
					op.Release()
					<-slots
				})
			}
			for range bench.depth {
				slots <- struct{}{}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}
