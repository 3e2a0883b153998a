package crush

import "fmt"

// Do runs a rule on input x and returns at most size devices, appended to
// result. weights are the devices' reweights (16.16; 0 is out, 0x10000 fully
// in); a device without one is out. args may be nil. Rules of the "indep" kind
// leave ItemNone at places they could not fill.
func (m *Map) Do(result []int32, rule int, x uint32, size int, weights []uint32, args ChooseArgs) ([]int32, error) {
	if rule < 0 || rule >= len(m.Rules) || m.Rules[rule] == nil {
		return result, fmt.Errorf("rule %d: %w", rule, ErrNoRule)
	}
	ru := m.Rules[rule]
	if ru.IsMSR() {
		return m.doMSR(result, ru, x, size, weights, args), nil
	}
	if size <= 0 {
		return result, nil
	}
	var room [3 * stackResult]int32
	buf := room[:]
	if size > stackResult {
		buf = make([]int32, 3*size)
	}
	st := run{
		m: m, x: x, weights: weights, args: args,
		tries: int(m.Tunables.ChooseTotalTries) + 1, // it counts retries
		local: int(m.Tunables.ChooseLocalTries), fallback: int(m.Tunables.ChooseLocalFallbackTries),
		varyR: uint32(m.Tunables.ChooseLeafVaryR), stable: m.Tunables.ChooseLeafStable != 0,
	}
	work, out, leaves := buf[:0:size], buf[size:2*size], buf[2*size:3*size]
	limit := len(result) + size
	for _, s := range ru.Steps {
		switch s.Op {
		case OpTake:
			if s.Arg1 >= 0 && s.Arg1 < m.MaxDevices || m.Bucket(s.Arg1) != nil {
				work = append(work[:0], s.Arg1)
			}
		case OpChooseFirstN, OpChooseLeafFirstN, OpChooseIndep, OpChooseLeafIndep:
			if len(work) == 0 {
				break
			}
			leaf := s.Op == OpChooseLeafFirstN || s.Op == OpChooseLeafIndep
			firstN := s.Op == OpChooseFirstN || s.Op == OpChooseLeafFirstN
			n := st.step(s, firstN, leaf, work, out, leaves)
			src := out
			if leaf {
				src = leaves
			}
			// Copied, not swapped: the sets are small and their rooms stay put.
			work = append(work[:0], src[:n]...)
		case OpEmit:
			for _, item := range work {
				if len(result) < limit {
					result = append(result, item)
				}
			}
			work = work[:0]
		default:
			st.set(s)
		}
	}
	return result, nil
}

// stackResult is the largest result size that needs no allocation.
const stackResult = 24

// run is the state of one Do.
type run struct {
	m                *Map
	x                uint32
	weights          []uint32
	args             ChooseArgs
	tries, leafTries int
	local, fallback  int
	varyR            uint32
	stable           bool
}

// set obeys the steps that change a tunable for the rest of the rule.
func (st *run) set(s Step) {
	switch {
	case s.Op == OpSetChooseTries && s.Arg1 > 0:
		st.tries = int(s.Arg1)
	case s.Op == OpSetChooseLeafTries && s.Arg1 > 0:
		st.leafTries = int(s.Arg1)
	case s.Arg1 < 0:
	case s.Op == OpSetChooseLocalTries:
		st.local = int(s.Arg1)
	case s.Op == OpSetChooseLocalFallback:
		st.fallback = int(s.Arg1)
	case s.Op == OpSetChooseLeafVaryR:
		st.varyR = uint32(s.Arg1)
	case s.Op == OpSetChooseLeafStable:
		st.stable = s.Arg1 != 0
	}
}

// step runs a choose step on every bucket of work and returns how many items
// it put into out, and their leaves into leaves.
func (st *run) step(s Step, firstN, leaf bool, work, out, leaves []int32) int {
	size := len(out)
	total := 0
	for _, id := range work {
		want := int(s.Arg1)
		if want <= 0 {
			if want += size; want <= 0 {
				continue
			}
		}
		b := st.m.Bucket(id)
		if b == nil {
			continue
		}
		c := choice{want: want, kind: uint16(s.Arg2), wide: s.Arg2 < 0 || s.Arg2 > 0xffff, leaf: leaf, tries: st.tries}
		if firstN {
			switch {
			case st.leafTries > 0:
				c.leafTries = st.leafTries
			case st.m.Tunables.ChooseLeafDescendOnce != 0:
				c.leafTries = 1
			default:
				c.leafTries = st.tries
			}
			total += st.firstN(b, c, out[total:], leaves[total:], 0, size-total, 0)
			continue
		}
		n := min(want, size-total)
		c.leafTries = max(st.leafTries, 1)
		st.indep(b, c, out[total:total+n], leaves[total:total+n], 0, n, 0)
		total += n
	}
	return total
}

// choice is what a choose step asks for.
type choice struct {
	want             int
	kind             uint16
	wide             bool // kind does not fit any bucket's type
	leaf             bool
	tries, leafTries int
}

// kindOf returns an item's type, 0 for devices; ok is false when the item is
// neither a device nor a bucket of the map.
func (st *run) kindOf(item int32) (kind uint16, b *Bucket, ok bool) {
	if item >= 0 {
		return 0, nil, item < st.m.MaxDevices
	}
	b = st.m.Bucket(item)
	if b == nil {
		return 0, nil, false
	}
	return b.Type, b, true
}

func (st *run) argOf(b *Bucket) *ChooseArg {
	if st.args == nil {
		return nil
	}
	return st.args[uint32(-1-b.ID)]
}

// isOut reports whether a device's reweight turns this input away.
func (st *run) isOut(item int32) bool {
	if int(item) >= len(st.weights) {
		return true
	}
	w := st.weights[item]
	switch {
	case w >= 0x10000:
		return false
	case w == 0:
		return true
	}
	return Hash2(st.x, uint32(item))&0xffff >= w
}

// firstN fills out from position pos on with up to count distinct items of the
// wanted type below b and returns the new number of items. leaves gets a device
// below each. parentR offsets the attempts.
func (st *run) firstN(b *Bucket, c choice, out, leaves []int32, pos, count int, parentR uint32) int {
	rep := pos
	if st.stable {
		rep = 0
	}
	for ; rep < c.want && count > 0; rep++ {
		if item, ok := st.firstNOne(b, c, out, leaves, pos, count, uint32(rep)+parentR); ok {
			out[pos] = item
			pos++
			count--
		}
	}
	return pos
}

// firstNOne finds one item, or gives up. Failures move the attempt on: first
// within the bucket at hand, as far as the local tunables let it, then by a new
// descent from b.
func (st *run) firstNOne(b *Bucket, c choice, out, leaves []int32, pos, count int, r0 uint32) (int32, bool) {
	failed := 0
	for { // descents
		in, here := b, 0
		again := true
		for again {
			again = false
			r := r0 + uint32(failed)
			collided := false
			var item int32
			if len(in.Items) > 0 {
				if st.fallback > 0 && here >= len(in.Items)>>1 && here > st.fallback {
					item = in.choosePermuted(st.x, r)
				} else {
					item = in.choose(st.x, r, st.argOf(in), pos)
				}
				kind, below, ok := st.kindOf(item)
				if !ok {
					return 0, false
				}
				if c.wide || kind != c.kind {
					if below == nil {
						return 0, false
					}
					in, again = below, true
					continue
				}
				for _, o := range out[:pos] {
					collided = collided || o == item
				}
				if !collided && st.accept(item, below, c, leaves, pos, count, r) {
					return item, true
				}
			}
			failed++
			here++
			switch {
			case collided && here <= st.local:
				again = true
			case st.fallback > 0 && here <= len(in.Items)+st.fallback:
				again = true
			case failed >= c.tries:
				return 0, false
			}
		}
	}
}

// accept finds the item's leaf, if one is wanted, and asks the device's
// reweight.
func (st *run) accept(item int32, b *Bucket, c choice, leaves []int32, pos, count int, r uint32) bool {
	if c.leaf {
		if b != nil {
			var subR uint32
			if st.varyR > 0 {
				subR = r >> (st.varyR - 1)
			}
			sub := choice{want: pos + 1, tries: c.leafTries}
			if st.stable {
				sub.want = 1
			}
			if st.firstN(b, sub, leaves, nil, pos, count, subR) <= pos {
				return false
			}
		} else {
			leaves[pos] = item
		}
	}
	return b != nil || !st.isOut(item)
}

// indep fills positions pos to pos+n-1 of out, each on its own: a position that
// cannot be filled gets ItemNone and the others do not move.
func (st *run) indep(b *Bucket, c choice, out, leaves []int32, pos, n int, parentR uint32) {
	end := pos + n
	for i := pos; i < end; i++ {
		out[i] = itemUndef
		if leaves != nil {
			leaves[i] = itemUndef
		}
	}
	left := n
	for failed := 0; left > 0 && failed < c.tries; failed++ {
		for rep := pos; rep < end; rep++ {
			if out[rep] == itemUndef && st.indepOne(b, c, out, leaves, pos, end, rep, uint32(failed), parentR) {
				left--
			}
		}
	}
	for i := pos; i < end; i++ {
		if out[i] == itemUndef {
			out[i] = ItemNone
		}
		if leaves != nil && leaves[i] == itemUndef {
			leaves[i] = ItemNone
		}
	}
}

// indepOne tries once to settle position rep and reports whether it is settled,
// for good or for bad.
func (st *run) indepOne(b *Bucket, c choice, out, leaves []int32, pos, end, rep int, failed, parentR uint32) bool {
	for in := b; len(in.Items) > 0; {
		r := uint32(rep) + parentR
		if in.Alg == AlgUniform && len(in.Items)%c.want == 0 {
			r += uint32(c.want+1) * failed
		} else {
			r += uint32(c.want) * failed
		}
		item := in.choose(st.x, r, st.argOf(in), pos)
		kind, below, ok := st.kindOf(item)
		descend := c.wide || kind != c.kind
		if !ok || descend && below == nil {
			out[rep] = ItemNone
			if leaves != nil {
				leaves[rep] = ItemNone
			}
			return true
		}
		if descend {
			in = below
			continue
		}
		for _, o := range out[pos:end] {
			if o == item {
				return false
			}
		}
		if c.leaf && leaves != nil {
			if below == nil {
				leaves[rep] = item
			} else {
				st.indep(below, choice{want: c.want, tries: c.leafTries}, leaves, nil, rep, 1, r)
				if leaves[rep] == ItemNone {
					return false
				}
			}
		}
		if below == nil && st.isOut(item) {
			return false
		}
		out[rep] = item
		return true
	}
	return false
}
