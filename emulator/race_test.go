//go:build race

package emulator_test

// slow says that the race detector is at work, for tests whose size is not their point.
const slow = true
