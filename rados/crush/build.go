package crush

import (
	"fmt"
	"slices"
)

// DeviceWeight is the weight of a device of 1 TiB.
const DeviceWeight uint32 = 0x10000

// Types of the default hierarchy that Build uses.
const (
	TypeOSD  = 0
	TypeHost = 1
	TypeRoot = 11
)

// defaultTypes are the names of the levels in every new cluster.
var defaultTypes = []string{
	"osd", "host", "chassis", "rack", "row", "pdu", "pod", "room", "datacenter", "zone", "region", "root",
}

// ReplicatedRule is the number of "replicated_rule" in a map that Build made.
const ReplicatedRule = 0

// Build returns a map with the root "default", hosts "host0", "host1"… that
// hold the devices of hosts, each of DeviceWeight, and the rule
// "replicated_rule". Copies go to different hosts, or, if acrossOSDs,
// just to different devices.
func Build(hosts [][]int32, acrossOSDs bool) *Map {
	m := &Map{
		Tunables:  JewelTunables(),
		TypeNames: map[int32]string{}, ItemNames: map[int32]string{}, RuleNames: map[int32]string{},
	}
	for i, name := range defaultTypes {
		m.TypeNames[int32(i)] = name
	}
	root := &Bucket{ID: -1, Type: TypeRoot, Alg: AlgStraw2}
	m.Buckets = append(m.Buckets, root)
	m.ItemNames[-1] = "default"
	for i, osds := range hosts {
		h := &Bucket{ID: int32(-2 - i), Type: TypeHost, Alg: AlgStraw2, Items: slices.Clone(osds)}
		for _, osd := range osds {
			h.Weights = append(h.Weights, DeviceWeight)
			h.Weight += DeviceWeight
			m.ItemNames[osd] = fmt.Sprintf("osd.%d", osd)
			m.MaxDevices = max(m.MaxDevices, osd+1)
		}
		m.Buckets = append(m.Buckets, h)
		m.ItemNames[h.ID] = fmt.Sprintf("host%d", i)
		root.Items = append(root.Items, h.ID)
		root.Weights = append(root.Weights, h.Weight)
		root.Weight += h.Weight
	}
	firstN, level := OpChooseLeafFirstN, int32(TypeHost)
	if acrossOSDs {
		firstN, level = OpChooseFirstN, TypeOSD
	}
	m.Rules = []*Rule{
		{Ruleset: ReplicatedRule, Type: RuleReplicated, MinSize: 1, MaxSize: 10, Steps: []Step{
			{Op: OpTake, Arg1: -1}, {Op: firstN, Arg2: level}, {Op: OpEmit},
		}},
	}
	m.RuleNames[ReplicatedRule] = "replicated_rule"
	return m
}

// ErasureRule returns the rule that Ceph makes for erasure coded pools whose chunks
// go to different buckets, or devices, of a type below root. number is its own.
func ErasureRule(number int, root, level int32) *Rule {
	op := OpChooseLeafIndep
	if level == TypeOSD {
		op = OpChooseIndep
	}
	return &Rule{Ruleset: uint8(number), Type: RuleErasure, MinSize: 3, MaxSize: 20, Steps: []Step{
		{Op: OpSetChooseLeafTries, Arg1: 5}, {Op: OpSetChooseTries, Arg1: 100}, {Op: OpTake, Arg1: root}, {Op: op, Arg2: level}, {Op: OpEmit},
	}}
}
