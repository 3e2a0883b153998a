package osdmap

import (
	"bytes"
	"os"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/denc/denctest"
)

func of[T any, P interface {
	*T
	denctest.Codec
}]() denctest.Codec {
	return P(new(T))
}

// types are all codecs of this package. What is encoded by features is written by
// those of 20.2; of a whole map, by those of the release that gives the same bytes.
var types = denctest.Types{
	"HObject": of[HObject], "IntervalSet": of[IntervalSet], "MergeMeta": of[MergeMeta], "OSDInfo": of[OSDInfo], "OSDXInfo": of[OSDXInfo],
	"ObjectLocator": of[ObjectLocator], "PG": of[PG], "PoolSnap": of[PoolSnap], "SPG": of[SPG],
	"Pool": func() denctest.Codec {
		p := &Pool{}
		return denctest.Wrap(p, func(b []byte) []byte { return p.Append(b, FeaturesTentacle) }, p.Decode)
	},
	"OSDOnly": func() denctest.Codec {
		o := &OSDOnly{}
		return denctest.Wrap(o, func(b []byte) []byte { return o.append(b, 0) }, func(r *denc.Reader) { o.decode(r, 0) })
	},
	"IncOSDOnly": func() denctest.Codec {
		o := &IncOSDOnly{}
		return denctest.Wrap(o, func(b []byte) []byte { return o.append(b, FeaturesTentacle) }, o.decode)
	},
	"Map": func() denctest.Codec {
		m, raw := New(denc.UUID{}), []byte(nil)
		return denctest.Wrap(m, func(b []byte) []byte {
			return append(b, likeOneRelease(raw, func(f uint64) []byte { return m.Append(nil, f) })...)
		}, func(r *denc.Reader) {
			raw = r.Rest()
			if got, err := Decode(raw); err != nil {
				r.Fail(err)
			} else {
				*m = *got
			}
		})
	},
	"Incremental": func() denctest.Codec {
		inc, raw := New(denc.UUID{}).NewIncremental(), []byte(nil)
		return denctest.Wrap(inc, func(b []byte) []byte {
			return append(b, likeOneRelease(raw, func(f uint64) []byte { return inc.Append(nil, f) }, inc.OSDOnly.EncodeFeatures)...)
		}, func(r *denc.Reader) {
			raw = r.Rest()
			if got, err := DecodeIncremental(raw); err != nil {
				r.Fail(err)
			} else {
				*inc = *got
			}
		})
	},
}

// likeOneRelease encodes by the features of each release, or by more, until the
// bytes are raw.
func likeOneRelease(raw []byte, encode func(features uint64) []byte, more ...uint64) (p []byte) {
	for _, f := range append(more, FeaturesPacific, FeaturesReef, FeaturesTentacle) {
		if p = encode(f); bytes.Equal(p, raw) {
			return p
		}
	}
	return p
}

// TestEveryTypeHasGoldenBytes holds every codec to what monitors and OSDs of the
// releases and their clients said, and to the maps that monitors stored.
func TestEveryTypeHasGoldenBytes(t *testing.T) {
	inv := denctest.New(Map{})
	inv.Golden(t, types, func(t *testing.T, _ string, val denctest.Value, c denctest.Codec) {
		ok := true
		switch v := denctest.Unwrap(c).(type) {
		case *HObject:
			ok = v.Pool > 0 || v.Max || *v == MinHObject()
		case *ObjectLocator:
			ok = v.Pool > 0
		case *PG:
			ok = v.Pool > 0 && v.Seed < 32
		case *SPG:
			ok = v.PG.Pool > 0 && v.Shard == -1
		case *Map:
			ok = v.Epoch > 0 && !v.FSID.IsZero() && v.Crush != nil
		case *Incremental:
			ok = v.Epoch > 1 && !v.FSID.IsZero()
		}
		if !ok {
			t.Errorf("%s: unexpected %+v", val.From, denctest.Unwrap(c))
		}
	})
	for release := range releases {
		p, err := os.ReadFile("testdata/" + release + "/full.bin")
		if err != nil {
			t.Fatal(err)
		}
		m := types["Map"]()
		if denctest.Reencode(t, release, m, p) {
			inv.Note(release, m)
		}
		var c chain
		if release == "18.2" {
			continue
		}
		b, _ := readGolden(t, "testdata/"+release+"/chain.gz")
		c.Decode(denc.NewReader(b))
		for _, e := range c.epochs {
			inc, err := DecodeIncremental(e[0])
			if err == nil && bytes.Equal(inc.Append(nil, inc.OSDOnly.EncodeFeatures), e[0]) {
				inv.Note(release, inc)
			}
		}
	}
	inv.Complete(t, types, nil)
}

func FuzzTypes(f *testing.F) { denctest.Fuzz(f, types) }

func TestPublicCorpus(t *testing.T) {
	denctest.Corpus(t, types, map[string]string{
		"OSDMap": "Map", "OSDMap::Incremental": "Incremental", "hobject_t": "HObject", "object_locator_t": "ObjectLocator", "osd_info_t": "OSDInfo",
		"osd_xinfo_t": "OSDXInfo", "pg_merge_meta_t": "MergeMeta", "pg_pool_t": "Pool", "pg_t": "PG", "spg_t": "SPG", "pool_snap_info_t": "PoolSnap",
	}, map[string]string{
		"18.2.0/objects/OSDMap::Incremental/": "18.2 stores the mask of 16.2 and writes version 9 all the same",
	})
}
