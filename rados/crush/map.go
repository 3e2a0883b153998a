package crush

import (
	"errors"
	"fmt"
)

// Algorithms of buckets.
const (
	AlgUniform uint8 = 1
	AlgList    uint8 = 2
	AlgTree    uint8 = 3
	AlgStraw   uint8 = 4
	AlgStraw2  uint8 = 5
)

// Operations of rule steps.
const (
	OpNoop                   uint32 = 0
	OpTake                   uint32 = 1
	OpChooseFirstN           uint32 = 2
	OpChooseIndep            uint32 = 3
	OpEmit                   uint32 = 4
	OpChooseLeafFirstN       uint32 = 6
	OpChooseLeafIndep        uint32 = 7
	OpSetChooseTries         uint32 = 8
	OpSetChooseLeafTries     uint32 = 9
	OpSetChooseLocalTries    uint32 = 10
	OpSetChooseLocalFallback uint32 = 11
	OpSetChooseLeafVaryR     uint32 = 12
	OpSetChooseLeafStable    uint32 = 13
	OpSetMSRDescents         uint32 = 14
	OpSetMSRCollisionTries   uint32 = 15
	OpChooseMSR              uint32 = 16
)

// Kinds of rules.
const (
	RuleReplicated uint8 = 1
	RuleErasure    uint8 = 3
	RuleMSRFirstN  uint8 = 4
	RuleMSRIndep   uint8 = 5
)

// ItemNone stands for a position without an item (CRUSH_ITEM_NONE); itemUndef
// for one that is still to be filled.
const (
	ItemNone  int32 = 0x7fffffff
	itemUndef int32 = 0x7ffffffe
)

// ErrNoRule says that the map has no rule of that number.
var ErrNoRule = errors.New("no such CRUSH rule")

// Bucket is one inner node of the hierarchy.
type Bucket struct {
	ID     int32 // negative; its place in Map.Buckets is -1-ID
	Type   uint16
	Alg    uint8
	Hash   uint8
	Weight uint32 // 16.16, as all weights here
	Items  []int32
	// Weights are the items' weights; a uniform bucket has one for all.
	Weights []uint32
	// Sums are a list bucket's running sums, Straws a straw bucket's lengths,
	// Nodes a tree bucket's node weights.
	Sums, Straws, Nodes []uint32
}

// Step is one step of a rule.
type Step struct {
	Op         uint32
	Arg1, Arg2 int32
}

// Rule is a program that picks devices. The four bytes of its mask have no
// effect on mapping but Type, which says how it is to be run.
type Rule struct {
	Ruleset, Type, MinSize, MaxSize uint8
	Steps                           []Step
}

// IsMSR reports whether the rule is of the multi-step-retry kind.
func (r *Rule) IsMSR() bool { return r.Type == RuleMSRFirstN || r.Type == RuleMSRIndep }

// Tunables steer retries; see LegacyTunables and JewelTunables.
type Tunables struct {
	ChooseLocalTries, ChooseLocalFallbackTries, ChooseTotalTries uint32
	ChooseLeafDescendOnce                                        uint32
	ChooseLeafVaryR, StrawCalcVersion                            uint8
	AllowedBucketAlgs                                            uint32
	ChooseLeafStable                                             uint8
	// HasMSR says that the two MSR values are part of the encoding.
	HasMSR                         bool
	MSRDescents, MSRCollisionTries uint32
}

// LegacyTunables returns what a map without tunables means (profile argonaut).
func LegacyTunables() Tunables {
	return Tunables{
		ChooseLocalTries: 2, ChooseLocalFallbackTries: 5, ChooseTotalTries: 19,
		AllowedBucketAlgs: 1<<AlgUniform | 1<<AlgList | 1<<AlgStraw,
		MSRDescents:       100, MSRCollisionTries: 100,
	}
}

// JewelTunables returns the profile of all clusters since Jewel.
func JewelTunables() Tunables {
	return Tunables{
		ChooseTotalTries: 50, ChooseLeafDescendOnce: 1, ChooseLeafVaryR: 1, StrawCalcVersion: 1,
		AllowedBucketAlgs: 1<<AlgUniform | 1<<AlgList | 1<<AlgStraw | 1<<AlgStraw2,
		ChooseLeafStable:  1, MSRDescents: 100, MSRCollisionTries: 100,
	}
}

// ChooseArg replaces a bucket's weights, by position, and the ids that are
// hashed for its items.
type ChooseArg struct {
	// WeightSets has one list of weights for each position; the last also
	// serves all later positions.
	WeightSets [][]uint32
	IDs        []int32
}

// ChooseArgs maps a bucket's index (-1-ID) to what replaces its weights.
type ChooseArgs map[uint32]*ChooseArg

// Map is a CRUSH map.
type Map struct {
	// Buckets has the bucket of id b at -1-b; empty slots are nil.
	Buckets    []*Bucket
	Rules      []*Rule
	MaxDevices int32
	Tunables   Tunables

	TypeNames, ItemNames, RuleNames map[int32]string
	// Classes maps a device to its class, ClassNames a class to its name,
	// ClassBuckets a bucket and class to its shadow bucket.
	Classes      map[int32]int32
	ClassNames   map[int32]string
	ClassBuckets map[int32]map[int32]int32
	// ChooseArgs is keyed by pool id, or DefaultChooseArgs.
	ChooseArgs map[int64]ChooseArgs

	tail tailParts
}

// DefaultChooseArgs is the key of the choose_args of pools without own ones.
const DefaultChooseArgs int64 = -1

// Bucket returns the bucket of a negative id, or nil.
func (m *Map) Bucket(id int32) *Bucket {
	if i := -1 - int64(id); i >= 0 && i < int64(len(m.Buckets)) {
		return m.Buckets[i]
	}
	return nil
}

// ChooseArgsFor returns the choose_args for a pool, the default ones if it has
// no own, or nil.
func (m *Map) ChooseArgsFor(pool int64) ChooseArgs {
	if a, ok := m.ChooseArgs[pool]; ok {
		return a
	}
	return m.ChooseArgs[DefaultChooseArgs]
}

// UsesMSR reports whether one of the rules is of the multi-step-retry kind.
func (m *Map) UsesMSR() bool {
	for _, r := range m.Rules {
		if r != nil && r.IsMSR() {
			return true
		}
	}
	return false
}

// check verifies what the mapper relies on: tables as long as the items, and a
// hierarchy without cycles.
func (m *Map) check() error {
	for i, b := range m.Buckets {
		if b == nil {
			continue
		}
		if err := b.check(int32(-1 - i)); err != nil {
			return err
		}
	}
	const visiting, done = 1, 2
	state := make([]uint8, len(m.Buckets))
	var visit func(i, depth int) error
	visit = func(i, depth int) error {
		if i < 0 || i >= len(m.Buckets) || m.Buckets[i] == nil || state[i] == done {
			return nil
		}
		if state[i] == visiting || depth > maxDepth {
			return fmt.Errorf("bucket %d contains itself or is nested too deeply", -1-i)
		}
		state[i] = visiting
		for _, item := range m.Buckets[i].Items {
			if item < 0 {
				if err := visit(int(-1-int64(item)), depth+1); err != nil {
					return err
				}
			}
		}
		state[i] = done
		return nil
	}
	for i := range m.Buckets {
		if err := visit(i, 0); err != nil {
			return err
		}
	}
	if err := m.checkMSR(); err != nil {
		return err
	}
	return m.checkChooseArgs()
}

// maxDepth bounds the nesting of buckets; real maps have about a dozen levels.
const maxDepth = 100

func (b *Bucket) check(id int32) error {
	n := len(b.Items)
	ok := b.ID == id
	switch b.Alg {
	case AlgUniform:
		ok = ok && len(b.Weights) == 1
	case AlgList:
		ok = ok && len(b.Weights) == n && len(b.Sums) == n
	case AlgStraw:
		ok = ok && len(b.Weights) == n && len(b.Straws) == n
	case AlgStraw2:
		ok = ok && len(b.Weights) == n
	case AlgTree:
		k := len(b.Nodes)
		ok = ok && k&(k-1) == 0 && (n == 0 || k/2 >= n)
	default:
		return fmt.Errorf("bucket %d: unknown algorithm %d", id, b.Alg)
	}
	if !ok {
		return fmt.Errorf("bucket %d: inconsistent", id)
	}
	return nil
}

func (m *Map) checkChooseArgs() error {
	for index, args := range m.ChooseArgs {
		for i, a := range args {
			if uint64(i) >= uint64(len(m.Buckets)) || m.Buckets[i] == nil {
				return fmt.Errorf("choose_args %d: no bucket %d", index, -1-int64(i))
			}
			n := len(m.Buckets[i].Items)
			ok := len(a.IDs) == 0 || len(a.IDs) == n
			for _, w := range a.WeightSets {
				ok = ok && len(w) == n
			}
			if !ok {
				return fmt.Errorf("choose_args %d: bucket %d: wrong size", index, -1-int64(i))
			}
		}
	}
	return nil
}
