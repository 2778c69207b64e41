package docker

// What the tests of reading apt's sources need.
var MachineSources = machineSources
