package rbdcmd

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

func parse(t *testing.T, args ...string) *call {
	t.Helper()
	in, err := cli.NewTable().Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return &call{Invocation: in}
}

func TestSpecAndWhatFollows(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want spec
		rest []string
	}{
		{[]string{"image-meta", "set", "p/n/i", "k", "v"}, spec{Pool: "p", Namespace: "n", Image: "i"}, []string{"k", "v"}},
		{[]string{"image-meta", "set", "-p", "p", "--image", "i", "k", "v"}, spec{Pool: "p", Image: "i"}, []string{"k", "v"}},
		{[]string{"image-meta", "set", "--image", "p/i", "k", "v"}, spec{Pool: "p", Image: "i"}, []string{"k", "v"}},
		{[]string{"image-meta", "set", "--namespace", "n", "p/i", "k", "v"}, spec{Pool: "p", Namespace: "n", Image: "i"}, []string{"k", "v"}},
	} {
		s, rest, err := specArg{}.take(parse(t, tc.args...).Invocation)
		if err != nil || s != tc.want || !reflect.DeepEqual(rest, tc.rest) {
			t.Errorf("%v: %v %v %v", tc.args, s, rest, err)
		}
	}
}

func TestCreateOptions(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want rbd.CreateOptions
		code int
	}{
		{nil, rbd.CreateOptions{}, 0},
		{[]string{"--object-size", "64K"}, rbd.CreateOptions{Order: 16}, 0},
		{[]string{"--order", "23", "--data-pool", "d"}, rbd.CreateOptions{Order: 23, DataPool: "d"}, 0},
		{[]string{"--order", "30"}, rbd.CreateOptions{}, 1},
		{[]string{"--object-size", "x"}, rbd.CreateOptions{}, 1},
		{[]string{"--stripe-unit", "64K", "--stripe-count", "4"}, rbd.CreateOptions{StripeUnit: 65536, StripeCount: 4}, 0},
		{[]string{"--image-feature", "layering,exclusive-lock", "--image-feature", "deep-flatten"},
			rbd.CreateOptions{Features: rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureDeepFlatten, HasFeatures: true}, 0},
		{[]string{"--image-feature", "layering,exclusive-lock", "--image-shared"}, rbd.CreateOptions{Features: rbd.FeatureLayering, HasFeatures: true}, 0},
		{[]string{"--image-shared"}, rbd.CreateOptions{FeaturesClear: singleClient}, 0},
		{[]string{"--image-feature", "3"}, rbd.CreateOptions{}, 1},
		{[]string{"--image-feature", "nonsense"}, rbd.CreateOptions{}, 1},
	} {
		o, err := parse(t, append([]string{"create", "i", "--size", "1"}, tc.args...)...).createOptions()
		if tc.code != 0 {
			var usage *cli.UsageError
			if !errors.As(err, &usage) || usage.Code != tc.code {
				t.Errorf("%v: %v", tc.args, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(o, tc.want) {
			t.Errorf("%v: %+v %v", tc.args, o, err)
		}
	}
}

func TestParseDate(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for text, want := range map[string]time.Time{
		"": now, "now": now,
		"2037-01-01":           time.Date(2037, 1, 1, 0, 0, 0, 0, time.Local),
		"2037-01-01 12:30":     time.Date(2037, 1, 1, 12, 30, 0, 0, time.Local),
		"2037-01-01T12:30:05Z": time.Date(2037, 1, 1, 12, 30, 5, 0, time.UTC),
	} {
		if got, err := parseDate(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := parseDate("nonsense", now); !errors.Is(err, rados.ErrInvalid) {
		t.Error(err)
	}
}

func TestFeatureCompanion(t *testing.T) {
	const both = rbd.FeatureObjectMap | rbd.FeatureFastDiff
	for _, tc := range []struct {
		mask, have uint64
		enable     bool
		want       uint64
	}{
		{rbd.FeatureFastDiff, both, false, both},
		{rbd.FeatureObjectMap, rbd.FeatureObjectMap, false, rbd.FeatureObjectMap},
		{rbd.FeatureObjectMap, 0, true, both},
		{rbd.FeatureJournaling, both, false, rbd.FeatureJournaling},
	} {
		if got := withCompanion(tc.mask, tc.have, tc.enable); got != tc.want {
			t.Errorf("%+v: %#x", tc, got)
		}
	}
}

func TestNearestSection(t *testing.T) {
	dump := []configEntry{
		{"client", "rbd_cache", "2"}, {"global", "rbd_cache", "1"}, {"client.a", "rbd_cache", "3"},
		{"client.b", "rbd_cache", "4"}, {"global", "log_file", "x"}, {"global", "rbd_b", "5"},
	}
	for who, want := range map[string][]rbd.ConfigValue{
		"global":   {{Name: "rbd_b", Value: "5", Source: "global"}, {Name: "rbd_cache", Value: "1", Source: "global"}},
		"client":   {{Name: "rbd_b", Value: "5", Source: "global"}, {Name: "rbd_cache", Value: "2", Source: "client"}},
		"client.a": {{Name: "rbd_b", Value: "5", Source: "global"}, {Name: "rbd_cache", Value: "3", Source: "client.a"}},
	} {
		if got := nearest(dump, who); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", who, got)
		}
	}
}
