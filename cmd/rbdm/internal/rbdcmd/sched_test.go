package rbdcmd

import (
	"testing"
)

func TestScheduleLevel(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		images                 bool
		pool, namespace, image string
		ok                     bool
	}{
		{"", true, "-", "-", "-", true},
		{"rbd/", true, "rbd", "-", "-", true},
		{"rbd/ns/", true, "rbd", "ns", "-", true},
		{"rbd/img", true, "rbd", "", "img", true},
		{"rbd//img", true, "rbd", "", "img", true},
		{"rbd/ns/img", true, "rbd", "ns", "img", true},
		{"rbd/img", false, "", "", "", false},
		{"rbd/img@s", true, "", "", "", false},
		{"rbd", true, "", "", "", false},
		{"/x", true, "", "", "", false},
		{"a/b/c/d", true, "", "", "", false},
	} {
		pool, namespace, image, ok := schedule{Name: tt.name}.level(tt.images)
		if pool != tt.pool || namespace != tt.namespace || image != tt.image || ok != tt.ok {
			t.Errorf("%q: %q %q %q %v", tt.name, pool, namespace, image, ok)
		}
	}
}

func TestParseStats(t *testing.T) {
	all, err := parseStats([]byte(`{"timestamp":"x","stat_descriptors":["read_ops","write_ops","write_bytes","read_bytes","write_latency","read_latency"],` +
		`"pool_descriptors":{"4":"p","5":"p/ns"},"stats":[{"4/img":[1,2,3.5,4,5,6]},{"5/other":[1]},{"9/gone":[1]}]}`))
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	if all[0] != (imageStats{pool: "p", image: "img", figures: [6]float64{2, 1, 3.5, 4, 5, 6}}) {
		t.Errorf("%+v", all[0])
	}
	if all[1] != (imageStats{pool: "p", namespace: "ns", image: "other", figures: [6]float64{0, 1}}) {
		t.Errorf("%+v", all[1])
	}
	if _, err := parseStats([]byte("{")); err == nil {
		t.Error("half an answer was read")
	}
}

func TestFigure(t *testing.T) {
	for _, tt := range []struct {
		i    int
		v    float64
		want string
	}{{0, 0, "0/s"}, {0, 1500, "1.50k/s"}, {1, 2000, "2k/s"}, {2, 4096, "4 KiB/s"}, {4, 12, "12.00 ns"}, {4, 1500, "1.50 us"}, {5, 2.5e6, "2.50 ms"}, {5, 3e9, "3.00 s"}} {
		if got := figure(tt.i, tt.v); got != tt.want {
			t.Errorf("figure(%d, %v) = %q, want %q", tt.i, tt.v, got, tt.want)
		}
	}
}
