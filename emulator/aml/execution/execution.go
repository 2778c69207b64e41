// Package execution is the run service: it takes a submitted script, makes
// the run, and has it run on its compute target, by the control scripts that
// this package carries.
package execution
