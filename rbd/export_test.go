package rbd

// SetMostHeld changes how many bytes of events are held back at most.
func (p *EventReplay) SetMostHeld(n int) { p.mostHeld = n }
