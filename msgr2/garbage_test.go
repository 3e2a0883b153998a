package msgr2

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestGarbageIsCountedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Garbage
		if g.Good(); g.Pause() != 0 {
			t.Error("a pause for nothing")
		}
		last := time.Duration(0)
		for i := range 20 {
			if tooMany := g.Add(); tooMany != (i >= 4) {
				t.Errorf("number %d: %v", i, tooMany)
			}
			if p := g.Pause(); p < last || p == 0 || p > time.Second {
				t.Errorf("pause %v after %v", p, last)
			} else {
				last = p
			}
		}
		if g.Good(); g.Pause() != 0 || g.Add() {
			t.Error("not forgotten after something good")
		}
		for range 9 {
			g.Add()
		}
		if time.Sleep(2 * time.Minute); g.Pause() != 0 || g.Add() {
			t.Error("not forgotten in time")
		}
	})
}
