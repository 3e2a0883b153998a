package crush

import "fmt"

// Rules of the multi-step-retry kind (Ceph 20.2): a prefix of steps that set the
// numbers of tries, then blocks of one take step, choose steps and an emit step.
// Each choose step divides its range of positions into strides and picks, for
// every stride, an item of its type that no other stride has; when a device
// turns out to be out, its whole block is descended again, so that also the
// outer steps may choose differently.

// msr is the state of running one block.
type msr struct {
	run
	rule     *Rule
	size     int
	descents int
	// collisions bounds the choices of one stride that another stride already has.
	collisions int
	// used has, for each choose step of the block, the items that are taken, by
	// position. A stride may have several items, in any of its positions; the last
	// step has each position's device.
	used [][]int32
	out  []int32 // by position; ItemNone where nothing is yet
	n    int     // devices in out
}

// doMSR runs a rule of the multi-step-retry kind. A malformed one maps to
// nothing.
func (m *Map) doMSR(result []int32, ru *Rule, x uint32, size int, weights []uint32, args ChooseArgs) []int32 {
	if size <= 0 {
		return result
	}
	from := len(result)
	for range size {
		result = append(result, ItemNone)
	}
	st := msr{
		run: run{m: m, x: x, weights: weights, args: args}, rule: ru, size: size, out: result[from:],
		descents: int(m.Tunables.MSRDescents), collisions: int(m.Tunables.MSRCollisionTries),
	}
	steps := ru.Steps
	for ; len(steps) > 0; steps = steps[1:] {
		if steps[0].Op == OpSetMSRDescents {
			st.descents = min(int(steps[0].Arg1), mostMSRTries)
		} else if steps[0].Op == OpSetMSRCollisionTries {
			st.collisions = min(int(steps[0].Arg1), mostMSRTries)
		} else {
			break
		}
	}
	for start := 0; len(steps) > 0; {
		n, ok := msrBlock(steps)
		if !ok {
			return result[:from]
		}
		if start = st.block(steps[0].Arg1, steps[1:n-1], start); start < 0 {
			return result[:from]
		}
		steps = steps[n:]
	}
	if ru.Type == RuleMSRFirstN {
		return result[:from+st.n]
	}
	return result
}

// msrBlock returns how many steps the first block has.
func msrBlock(steps []Step) (n int, ok bool) {
	if steps[0].Op != OpTake {
		return 0, false
	}
	for i, s := range steps[1:] {
		switch s.Op {
		case OpEmit:
			return i + 2, true
		case OpChooseMSR:
			if s.Arg1 < 0 {
				return 0, false
			}
		default:
			return 0, false
		}
	}
	return 0, false
}

// block fills the positions from start on with what the choose steps find below
// root and returns the position behind them, or -1.
func (st *msr) block(root int32, steps []Step, start int) int {
	if start >= st.size {
		return start
	}
	if root >= 0 {
		if len(steps) > 0 {
			return -1
		}
		st.emit(start, root)
		return start + 1
	}
	b := st.m.Bucket(root)
	if b == nil || len(steps) == 0 {
		return -1
	}
	total := 1
	for _, s := range steps {
		if total *= st.strides(s); total > maxMSRWidth {
			return -1
		}
	}
	st.used = make([][]int32, len(steps))
	room := make([]int32, len(steps)*st.size)
	for i := range room {
		room[i] = itemUndef
	}
	for i := range st.used {
		st.used[i] = room[i*st.size : (i+1)*st.size]
	}
	end := min(start+total, st.size)
	limit := st.n + end - start
	for try := 0; try < st.descents && st.n < limit; try++ {
		st.choose(b, steps, 0, total, start, end, uint32(try))
	}
	return end
}

// maxMSRWidth bounds the product of the numbers in a rule's choose steps.
const maxMSRWidth = 1 << 20

func (st *msr) strides(s Step) int {
	if s.Arg1 == 0 {
		return st.size
	}
	return int(s.Arg1)
}

// choose runs step number at and those behind it for the positions from start to
// end below b, of which the step sees width (some may lie behind the result's
// end). It returns how many devices it placed.
func (st *msr) choose(b *Bucket, steps []Step, at, width, start, end int, try uint32) int {
	s := steps[at]
	length := width / st.strides(s)
	var room [stackResult]int32
	undo := room[:0] // where strides begin whose item led to nothing
	mapped := 0
	for i, from := 0, start; from < end; i, from = i+1, from+length {
		to := min(from+length, end)
		if st.filled(from, to) {
			continue
		}
		item, kind, ok := st.pick(b, s, at, start, end, from, to, i, try)
		if !ok {
			continue
		}
		leaf := at+1 == len(steps)
		if s.Arg2 == 0 {
			if length == 1 && leaf && item >= 0 && !st.isOut(item) {
				st.use(at, from, to, item)
				st.emit(from, item)
				mapped++
			}
			continue
		}
		if leaf || kind == nil {
			continue
		}
		n := st.choose(kind, steps, at+1, length, from, to, try)
		if st.use(at, from, to, item) && n == 0 {
			// It stays in the way of the others until this descent is over.
			undo = append(undo, int32(from))
		}
		mapped += n
	}
	for _, from := range undo {
		st.unuse(at, int(from), min(int(from)+length, end))
	}
	return mapped
}

// pick descends from b to an item of the step's type that no other stride uses.
func (st *msr) pick(b *Bucket, s Step, at, start, end, from, to, stride int, try uint32) (int32, *Bucket, bool) {
	for local := range st.collisions {
		r := (try*uint32(st.size)+uint32(stride))<<16 + uint32(local)
		in := b
		for {
			if len(in.Items) == 0 {
				return 0, nil, false
			}
			item := in.choose(st.x, r, st.argOf(in), stride)
			kind, below, ok := st.kindOf(item)
			if !ok {
				return 0, nil, false
			}
			if below != nil && int32(kind) != s.Arg2 {
				in = below
				continue
			}
			if st.free(at, start, end, from, to, item) {
				return item, below, true
			}
			break
		}
	}
	return 0, nil, false
}

// free reports whether the stride from..to may use an item: it has it already, or
// no other stride of start..end has.
func (st *msr) free(at, start, end, from, to int, item int32) bool {
	for i := start; i < end; i++ {
		if st.used[at][i] == item {
			return i >= from && i < to
		}
	}
	return true
}

func (st *msr) filled(from, to int) bool {
	for _, item := range st.used[len(st.used)-1][from:to] {
		if item == itemUndef {
			return false
		}
	}
	return true
}

// use notes an item as used by a stride and reports whether it was not before.
func (st *msr) use(at, from, to int, item int32) bool {
	for i := from; i < to; i++ {
		switch st.used[at][i] {
		case item:
			return false
		case itemUndef:
			st.used[at][i] = item
			return true
		}
	}
	return false
}

// unuse forgets the item that a stride used last.
func (st *msr) unuse(at, from, to int) {
	for i := to - 1; i >= from; i-- {
		if st.used[at][i] != itemUndef {
			st.used[at][i] = itemUndef
			return
		}
	}
}

// emit places a device: rules of the firstn kind in the order of finding, others
// at its position.
func (st *msr) emit(pos int, item int32) {
	if st.rule.Type == RuleMSRFirstN {
		pos = st.n
	}
	st.out[pos] = item
	st.n++
}

// mostMSRTries is far above what any map has; the default is 100.
const mostMSRTries = 1 << 16

// checkMSR refuses numbers of tries that would take for ever.
func (m *Map) checkMSR() error {
	if m.Tunables.MSRDescents > mostMSRTries || m.Tunables.MSRCollisionTries > mostMSRTries {
		return fmt.Errorf("%d descents, %d tries after collisions", m.Tunables.MSRDescents, m.Tunables.MSRCollisionTries)
	}
	return nil
}
