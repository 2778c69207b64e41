//go:build !race

package emulator_test

const slow = false
