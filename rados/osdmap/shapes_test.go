package osdmap

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/crush"
)

// shape is one kind of map that placement is proven on.
type shape struct {
	name               string
	osds, hosts, racks int
	alg                uint8
	mixed              bool // a different algorithm per level
	legacy             bool
	args               bool
	ecopt              bool // EC_OPTIMIZATIONS, which only 20.2 knows
	msr                bool // multi-step-retry rules, likewise
	special            bool // temp, upmaps, affinities, down, out and missing OSDs
	pg                 uint32
}

// shapes returns the maps that are proven, all reproducible.
func shapes() []shape {
	var s []shape
	for _, alg := range []uint8{crush.AlgUniform, crush.AlgList, crush.AlgTree, crush.AlgStraw, crush.AlgStraw2} {
		s = append(s,
			shape{name: "plain", osds: 12, hosts: 4, racks: 1, alg: alg, pg: 64},
			shape{name: "legacy", osds: 24, hosts: 8, racks: 3, alg: alg, legacy: true, pg: 100},
			shape{name: "special", osds: 40, hosts: 10, racks: 4, alg: alg, special: true, pg: 200},
			shape{name: "special-legacy", osds: 30, hosts: 6, racks: 2, alg: alg, special: true, legacy: true, pg: 96})
	}
	for _, n := range []int{3, 7, 60, 250, 1000} {
		s = append(s,
			shape{name: "size", osds: n, hosts: max(3, n/12), racks: max(1, n/100), alg: crush.AlgStraw2, pg: 77},
			shape{name: "args", osds: n, hosts: max(3, n/10), racks: max(1, n/60), alg: crush.AlgStraw2, args: true, special: true, pg: 129})
	}
	return append(s,
		shape{name: "ecopt", osds: 40, hosts: 12, racks: 3, alg: crush.AlgStraw2, ecopt: true, special: true, pg: 256},
		shape{name: "msr", osds: 40, hosts: 12, racks: 3, alg: crush.AlgStraw2, msr: true, pg: 256},
		shape{name: "msr", osds: 120, hosts: 30, racks: 5, alg: crush.AlgStraw2, msr: true, special: true, args: true, pg: 256},
		shape{name: "msr", osds: 9, hosts: 4, racks: 2, alg: crush.AlgStraw2, msr: true, special: true, pg: 128},
		shape{name: "msr-mixed", osds: 60, hosts: 12, racks: 3, mixed: true, msr: true, special: true, pg: 256},
		shape{name: "msr-uniform", osds: 24, hosts: 8, racks: 4, alg: crush.AlgUniform, msr: true, special: true, pg: 128},
		shape{name: "mixed", osds: 60, hosts: 12, racks: 3, mixed: true, special: true, pg: 300},
		shape{name: "mixed-legacy", osds: 60, hosts: 12, racks: 3, mixed: true, special: true, legacy: true, pg: 300})
}

func (s shape) String() string {
	return fmt.Sprintf("%s-%d-%d-%d-alg%d", s.name, s.osds, s.hosts, s.racks, s.alg)
}

// features returns the mask by which the map is encoded.
func (s shape) features() uint64 {
	if s.ecopt || s.msr {
		return FeaturesTentacle
	}
	return FeaturesReef
}

// build makes the map; the same shape always gives the same one.
func (s shape) build() *Map {
	rng := rand.New(rand.NewPCG(uint64(s.osds), uint64(s.alg)<<8|uint64(s.pg)))
	m := New(denc.UUID{1, 2, 3})
	m.Epoch, m.Flags = 7, FlagSortBitwise|FlagRecoveryDeletes
	m.OSDOnly.MinCompatClient, m.OSDOnly.RequireRelease = 14, 16
	m.Crush = s.crush(rng)
	for range s.osds {
		state, weight := StateExists|StateUp, InWeight
		if s.special {
			switch rng.IntN(12) {
			case 0:
				state = StateExists
			case 1:
				weight = 0
			case 2:
				weight = uint32(rng.IntN(0x10000))
			case 3:
				state = 0
			}
		}
		m.State, m.Weight = append(m.State, state), append(m.Weight, weight)
		m.Addrs = append(m.Addrs, nil)
		a := DefaultAffinity
		if rng.IntN(3) == 0 {
			a = uint32(rng.IntN(0x10001))
		}
		if s.special {
			m.Affinity = append(m.Affinity, a)
		}
	}
	for i, p := range []*Pool{
		NewPool(PoolReplicated, 3, 2, s.pg), NewPool(PoolErasure, 6, 5, s.pg),
		NewPool(PoolReplicated, 5, 2, s.pg), NewPool(PoolErasure, 4, 3, s.pg), NewPool(PoolReplicated, 3, 2, s.pg),
	} {
		p.CrushRule = uint8(i)
		if s.ecopt && p.IsErasure() {
			p.Flags |= PoolECOptimizations
			p.NonPrimaryShards[0] = 0b1110 >> (i / 3)
		}
		if i == 2 {
			p.Flags = 0
			p.PGPNum = s.pg/2 + 1
		}
		m.Pools[int64(i+1)], m.PoolNames[int64(i+1)] = p, fmt.Sprintf("p%d", i+1)
		m.PoolMax = int32(i + 1)
	}
	if s.special {
		s.exceptions(m, rng)
	}
	if err := m.index(); err != nil {
		panic(err)
	}
	return m
}

func (s shape) exceptions(m *Map, rng *rand.Rand) {
	m.PGTemp, m.PrimaryTemp = map[PG][]int32{}, map[PG]int32{}
	m.Upmap, m.UpmapItems, m.UpmapPrimary = map[PG][]int32{}, map[PG][]UpmapItem{}, map[PG]int32{}
	any := func() int32 { return int32(rng.IntN(s.osds)) }
	for id := int64(1); id <= int64(len(m.Pools)); id++ {
		size := int(m.Pools[id].Size)
		for seed := range s.pg {
			pg := PG{id, seed}
			set := make([]int32, 0, size)
			for _, o := range rng.Perm(s.osds) {
				if len(set) < size {
					set = append(set, int32(o))
				}
			}
			switch rng.IntN(8) {
			case 0:
				m.PGTemp[pg] = set
			case 1:
				m.PrimaryTemp[pg] = any()
			case 2:
				m.Upmap[pg] = set
			case 3:
				up, _, _, _ := m.PGToUpActing(pg)
				for _, o := range up {
					if o != NoOSD && rng.IntN(2) == 0 {
						m.UpmapItems[pg] = append(m.UpmapItems[pg], UpmapItem{o, any()})
					}
				}
			case 4:
				if up, _, _, _ := m.PGToUpActing(pg); len(up) > 1 && m.Pools[id].Type == PoolReplicated {
					m.UpmapPrimary[pg] = up[1]
				}
			}
		}
	}
}

// crush builds root > racks > hosts > OSDs with random weights and five rules.
func (s shape) crush(rng *rand.Rand) *crush.Map {
	m := crush.Build(nil, false)
	m.Buckets, m.ItemNames, m.MaxDevices = nil, map[int32]string{}, int32(s.osds)
	if s.legacy {
		m.Tunables = crush.LegacyTunables()
	}
	algs := []uint8{s.alg, s.alg, s.alg}
	if s.mixed {
		algs = []uint8{crush.AlgStraw2, crush.AlgList, crush.AlgTree}
	}
	root := &crush.Bucket{ID: -1, Type: crush.TypeRoot, Alg: algs[0]}
	m.Buckets = append(m.Buckets, root)
	next := int32(-2)
	add := func(parent *crush.Bucket, kind uint16, alg uint8, name string) *crush.Bucket {
		b := &crush.Bucket{ID: next, Type: kind, Alg: alg}
		m.Buckets = append(m.Buckets, b)
		m.ItemNames[next] = name
		next--
		parent.Items = append(parent.Items, b.ID)
		return b
	}
	m.ItemNames[-1] = "default"
	var racks, hosts []*crush.Bucket
	for i := range s.racks {
		racks = append(racks, add(root, 3, algs[1], fmt.Sprintf("rack%d", i)))
	}
	for i := range s.hosts {
		hosts = append(hosts, add(racks[i%s.racks], crush.TypeHost, algs[2], fmt.Sprintf("host%d", i)))
	}
	for osd := range s.osds {
		h := hosts[osd%s.hosts]
		h.Items = append(h.Items, int32(osd))
		m.ItemNames[int32(osd)] = fmt.Sprintf("osd.%d", osd)
	}
	weights := map[int32]uint32{}
	for i := len(m.Buckets) - 1; i >= 0; i-- {
		weigh(m.Buckets[i], weights, rng)
	}
	if s.args {
		m.ChooseArgs = map[int64]crush.ChooseArgs{crush.DefaultChooseArgs: chooseArgs(m, 1, rng), 2: chooseArgs(m, 4, rng)}
	}
	take, emit := crush.Step{Op: crush.OpTake, Arg1: -1}, crush.Step{Op: crush.OpEmit}
	st := func(op uint32, a, b int32) crush.Step { return crush.Step{Op: op, Arg1: a, Arg2: b} }
	m.Rules = nil
	if s.msr {
		m.Rules, m.Tunables.HasMSR = msrRules(take, emit), true
		for i := range m.Rules {
			m.RuleNames[int32(i)] = fmt.Sprintf("rule%d", i)
		}
		return m
	}
	for i, steps := range [][]crush.Step{
		{take, st(crush.OpChooseLeafFirstN, 0, crush.TypeHost), emit},
		{st(crush.OpSetChooseLeafTries, 5, 0), st(crush.OpSetChooseTries, 100, 0), take, st(crush.OpChooseLeafIndep, 0, crush.TypeHost), emit},
		{take, st(crush.OpChooseFirstN, 0, 3), st(crush.OpChooseLeafFirstN, 2, crush.TypeHost), emit},
		{st(crush.OpSetChooseLeafVaryR, 4, 0), take, st(crush.OpChooseIndep, 2, 3), st(crush.OpChooseIndep, 2, crush.TypeOSD), emit},
		{st(crush.OpSetChooseLeafStable, 0, 0), st(crush.OpSetChooseLocalTries, 3, 0), st(crush.OpSetChooseLocalFallback, 4, 0),
			take, st(crush.OpChooseFirstN, 0, crush.TypeOSD), emit},
	} {
		kind := crush.RuleReplicated
		if i == 1 || i == 3 {
			kind = crush.RuleErasure
		}
		m.Rules = append(m.Rules, &crush.Rule{Ruleset: uint8(i), Type: kind, MinSize: 1, MaxSize: 10, Steps: steps})
		m.RuleNames[int32(i)] = fmt.Sprintf("rule%d", i)
	}
	return m
}

// msrRules returns rules of the multi-step-retry kind for the five pools.
func msrRules(take, emit crush.Step) (rules []*crush.Rule) {
	st := func(op uint32, a, b int32) crush.Step { return crush.Step{Op: op, Arg1: a, Arg2: b} }
	pick := func(n, kind int32) crush.Step { return st(crush.OpChooseMSR, n, kind) }
	for i, steps := range [][]crush.Step{
		{take, pick(0, crush.TypeHost), pick(1, crush.TypeOSD), emit},
		{st(crush.OpSetMSRDescents, 30, 0), take, pick(3, crush.TypeHost), pick(2, crush.TypeOSD), emit},
		{st(crush.OpSetMSRCollisionTries, 7, 0), take, pick(2, 3), pick(2, crush.TypeHost), pick(1, crush.TypeOSD), emit, take, pick(1, crush.TypeOSD), emit},
		{take, pick(2, 3), pick(2, crush.TypeOSD), emit},
		{take, pick(0, crush.TypeOSD), emit},
	} {
		kind := crush.RuleMSRFirstN
		if i == 1 || i == 3 {
			kind = crush.RuleMSRIndep
		}
		rules = append(rules, &crush.Rule{Ruleset: uint8(i), Type: kind, MinSize: 1, MaxSize: 10, Steps: steps})
	}
	return rules
}

// weigh gives a bucket's items weights and fills the tables of its algorithm.
func weigh(b *crush.Bucket, weights map[int32]uint32, rng *rand.Rand) {
	var ws []uint32
	for _, item := range b.Items {
		w, ok := weights[item]
		if !ok {
			w = uint32(0x8000 + rng.IntN(0x20000))
			if b.Alg == crush.AlgUniform {
				w = 0x10000
			}
		}
		ws = append(ws, w)
		b.Weight += w
		b.Straws = append(b.Straws, 0x8000+w/3)
		b.Sums = append(b.Sums, b.Weight)
	}
	b.Weights = ws
	weights[b.ID] = b.Weight
	switch b.Alg {
	case crush.AlgUniform:
		b.Weights = []uint32{0x10000}
	case crush.AlgTree:
		depth := 1
		for 1<<(depth-1) < len(ws) {
			depth++
		}
		b.Nodes = make([]uint32, 1<<depth)
		for i, w := range ws {
			b.Nodes[2*i+1] = w
		}
		for h := 1; h < depth; h++ {
			for n := 1 << h; n < len(b.Nodes); n += 2 << h {
				b.Nodes[n] = b.Nodes[n-1<<(h-1)] + b.Nodes[n+1<<(h-1)]
			}
		}
		b.Weights = nil
	}
}

func chooseArgs(m *crush.Map, positions int, rng *rand.Rand) crush.ChooseArgs {
	args := crush.ChooseArgs{}
	for i, b := range m.Buckets {
		a := &crush.ChooseArg{}
		for range positions {
			ws := make([]uint32, len(b.Items))
			for j := range ws {
				ws[j] = uint32(rng.IntN(0x30000))
			}
			a.WeightSets = append(a.WeightSets, ws)
		}
		if positions > 1 && i%2 == 0 {
			for _, item := range b.Items {
				a.IDs = append(a.IDs, item+1000)
			}
		}
		args[uint32(i)] = a
	}
	return args
}

var dumpLine = regexp.MustCompile(`(?m)^(\d+)\.([0-9a-f]+) raw \(\[[^]]*\], p-?\d+\) up \(\[([^]]*)\], p(-?\d+)\) acting \(\[([^]]*)\], p(-?\d+)\)`)

// checkDump compares m's placement with what osdmaptool printed, line by line,
// and returns how many PGs it compared.
func checkDump(t *testing.T, m *Map, dump string) int {
	t.Helper()
	lines := dumpLine.FindAllStringSubmatch(dump, -1)
	bad := 0
	for _, l := range lines {
		pool, _ := strconv.ParseInt(l[1], 10, 64)
		seed, _ := strconv.ParseUint(l[2], 16, 32)
		up, upP, acting, actP := m.PGToUpActing(PG{pool, uint32(seed)})
		got := fmt.Sprintf("[%s] p%d [%s] p%d", list(up), upP, list(acting), actP)
		want := fmt.Sprintf("[%s] p%s [%s] p%s", l[3], l[4], l[5], l[6])
		if got != want {
			if bad++; bad <= 5 {
				t.Errorf("%s.%s: %s, want %s", l[1], l[2], got, want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d PGs wrong", bad, len(lines))
	}
	return len(lines)
}

func list(osds []int32) string {
	s := make([]string, len(osds))
	for i, o := range osds {
		s[i] = strconv.Itoa(int(o))
	}
	return strings.Join(s, ",")
}
