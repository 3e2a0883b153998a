package objectmap

// Step is what a History says of one object between two points of time.
type Step uint8

// What can have happened to an object.
const (
	// Hole: it was not there and is not there.
	Hole Step = iota
	// Data: it was there and has not changed.
	Data
	// HoleUpdated: it was there, or came and went, and is not there now.
	HoleUpdated
	// DataUpdated: it is there, and is new or has changed.
	DataUpdated
)

// History compares the object maps of successive snapshots. The first map is
// the state at the start; each further one says what changed since the one
// before.
type History struct {
	steps   Bits // Step values
	started bool
}

// FromEmpty begins a history at the beginning of time, when nothing exists.
func FromEmpty() *History { return &History{started: true} }

// Add takes the map of the next snapshot, or of the head.
func (h *History) Add(m Bits) {
	if !h.started {
		h.started = true
		h.steps = New(m.Len(), uint8(Hole))
		for i := range m.Len() {
			if m.Get(i) != Nonexistent {
				h.steps.Set(i, uint8(Data))
			}
		}
		return
	}
	if m.Len() > h.steps.Len() {
		h.steps.Resize(m.Len(), uint8(Hole))
	}
	for i := range h.steps.Len() {
		was := Step(h.steps.Get(i))
		there := was == Data || was == DataUpdated
		switch m.Get(i) { // Nonexistent beyond a shrunk image's end
		case Exists, Pending:
			h.steps.Set(i, uint8(DataUpdated))
		case ExistsClean:
			if !there {
				h.steps.Set(i, uint8(DataUpdated))
			}
		case Nonexistent:
			if there {
				h.steps.Set(i, uint8(HoleUpdated))
			}
		}
	}
}

// Len returns the number of objects: the most that any map had.
func (h *History) Len() uint64 { return h.steps.Len() }

// At returns what happened to object i.
func (h *History) At(i uint64) Step { return Step(h.steps.Get(i)) }
