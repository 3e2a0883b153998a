//go:build race

package msgr2

// raceEnabled: pools forget at random under the race detector.
const raceEnabled = true
