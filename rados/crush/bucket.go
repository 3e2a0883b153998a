package crush

import (
	"math"
	"math/bits"
)

// choose picks one item for input x and attempt r. arg, if not nil, replaces a
// straw2 bucket's weights and ids; position says which of its weight sets. The
// bucket must not be empty.
func (b *Bucket) choose(x, r uint32, arg *ChooseArg, position int) int32 {
	switch b.Alg {
	case AlgUniform:
		return b.choosePermuted(x, r)
	case AlgList:
		return b.chooseList(x, r)
	case AlgTree:
		return b.chooseTree(x, r)
	case AlgStraw:
		return b.chooseStraw(x, r)
	case AlgStraw2:
		return b.chooseStraw2(x, r, arg, position)
	}
	return b.Items[0]
}

// choosePermuted picks the item at place r of a permutation of the items that
// x seeds.
func (b *Bucket) choosePermuted(x, r uint32) int32 {
	size := uint32(len(b.Items))
	place := r % size
	if place == 0 {
		return b.Items[Hash3(x, uint32(b.ID), 0)%size]
	}
	var room [64]uint32
	perm := room[:]
	if size > uint32(len(room)) {
		perm = make([]uint32, size)
	}
	perm = perm[:size]
	for i := range perm {
		perm[i] = uint32(i)
	}
	for p := uint32(0); p <= place && p < size-1; p++ {
		i := Hash3(x, uint32(b.ID), p) % (size - p)
		perm[p], perm[p+i] = perm[p+i], perm[p]
	}
	return b.Items[perm[place]]
}

func (b *Bucket) chooseList(x, r uint32) int32 {
	for i := len(b.Items) - 1; i >= 0; i-- {
		w := uint64(Hash4(x, uint32(b.Items[i]), r, uint32(b.ID)) & 0xffff)
		if w*uint64(b.Sums[i])>>16 < uint64(b.Weights[i]) {
			return b.Items[i]
		}
	}
	return b.Items[0]
}

// chooseTree walks a binary tree whose leaves are the odd nodes; a node's
// height is the number of its trailing zeros.
func (b *Bucket) chooseTree(x, r uint32) int32 {
	n := uint32(len(b.Nodes)) >> 1
	for n&1 == 0 && n != 0 {
		t := uint64(Hash4(x, n, r, uint32(b.ID))) * uint64(b.Nodes[n]) >> 32
		half := uint32(1) << (bits.TrailingZeros32(n) - 1)
		if t < uint64(b.Nodes[n-half]) {
			n -= half
		} else {
			n += half
		}
	}
	if int(n>>1) >= len(b.Items) {
		return b.Items[0]
	}
	return b.Items[n>>1]
}

func (b *Bucket) chooseStraw(x, r uint32) int32 {
	best, longest := 0, uint64(0)
	for i, item := range b.Items {
		draw := uint64(Hash3(x, uint32(item), r)&0xffff) * uint64(b.Straws[i])
		if i == 0 || draw > longest {
			best, longest = i, draw
		}
	}
	return b.Items[best]
}

func (b *Bucket) chooseStraw2(x, r uint32, arg *ChooseArg, position int) int32 {
	weights, ids := b.Weights, b.Items
	if arg != nil {
		if n := len(arg.WeightSets); n > 0 {
			weights = arg.WeightSets[min(position, n-1)]
		}
		if len(arg.IDs) > 0 {
			ids = arg.IDs
		}
	}
	best, longest := 0, int64(math.MinInt64)
	for i, id := range ids {
		w := weights[i]
		if w == 0 {
			continue
		}
		draw := (ln(Hash3(x, uint32(id), r)&0xffff) - 1<<48) / int64(w)
		if draw > longest {
			best, longest = i, draw
		}
	}
	return b.Items[best]
}
